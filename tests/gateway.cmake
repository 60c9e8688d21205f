# The gateway: the bytes of requests, and what they may name.
seks_unit_test(test_vet gateway_lib)
seks_unit_test(test_reads gateway_lib)
