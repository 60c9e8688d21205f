seks_unit_test(test_scrub proxy_lib)
