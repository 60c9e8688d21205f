seks_unit_test(test_log common)
seks_unit_test(test_trace common)
seks_unit_test(test_spans proxy_lib)
