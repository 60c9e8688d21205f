seks_unit_test(test_http1 proxy_lib PkgConfig::ZLIB)
seks_unit_test(test_scrub proxy_lib)
seks_unit_test(test_sigv4 proxy_lib)
seks_unit_test(test_chunks proxy_lib)
seks_unit_test(test_sends proxy_lib)
seks_unit_test(test_spare proxy_lib)
# Not a test: figures for docs/performance.md.
add_executable(scrub_bench bench/scrub_bench.c)
target_link_libraries(scrub_bench PRIVATE seks_flags proxy_lib)


add_executable(sign_lines tools/sign_lines.c)
target_link_libraries(sign_lines PRIVATE seks_flags proxy_lib PkgConfig::JANSSON)
