seks_unit_test(test_channel common PkgConfig::LIBZMQ)
seks_unit_test(test_loop common PkgConfig::LIBZMQ)
seks_unit_test(test_shamir common)
