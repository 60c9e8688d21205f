seks_unit_test(test_http1 proxy_lib PkgConfig::ZLIB)
seks_unit_test(test_scrub proxy_lib)
seks_unit_test(test_sigv4 proxy_lib)
seks_unit_test(test_chunks proxy_lib)
