seks_unit_test(test_log common)
