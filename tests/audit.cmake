seks_unit_test(test_audit_log audit_lib)
seks_unit_test(test_audit_query audit_lib)
seks_unit_test(test_audit_keep audit_lib audit_check)
seks_unit_test(test_client gateway_lib)
seks_unit_test(test_audit_again audit_lib)
seks_unit_test(test_audit_mark vault_lib)
seks_unit_test(test_shards vault_lib)

# Without an argument every bit of the log is flipped (a minute); here every seventh.
add_executable(test_audit_verify unit/test_audit_verify.c)
target_link_libraries(test_audit_verify PRIVATE seks_flags audit_lib audit_check PkgConfig::CMOCKA)
add_test(NAME test_audit_verify COMMAND test_audit_verify 7)

# Not a test: run by tests/audit/bench.sh.
add_executable(append_bench audit/append_bench.c)
target_link_libraries(append_bench PRIVATE seks_flags proto common)
