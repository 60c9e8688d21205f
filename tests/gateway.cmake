# Hostile callers: the bytes of requests, what they may name, how often passwords may be tried; and which peer is taken.
seks_unit_test(test_vet gateway_lib)
seks_unit_test(test_reads gateway_lib)
seks_unit_test(test_target gateway_lib)
seks_unit_test(test_throttle vault_lib)
seks_fuzz_target(fuzz_target target gateway_lib)
seks_unit_test(test_upstream proxy_lib)
seks_unit_test(test_vault_sessions vault_lib)
seks_unit_test(test_peers gateway_lib)
