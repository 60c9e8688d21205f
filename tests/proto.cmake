seks_unit_test(test_messages proto msgpackc)
