seks_unit_test(test_channel common PkgConfig::LIBZMQ)
