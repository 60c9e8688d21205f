# The vault: formats and rows by themselves, then the whole of it between a stand-in for the gateway
# and one for the audit daemon.
seks_unit_test(test_vault_store vault_lib)
seks_unit_test(test_vault_damage vault_lib)
seks_unit_test(test_vault_seal vault_lib)
seks_unit_test(test_vault_reseal vault_lib)
seks_unit_test(test_vault_ops vault_lib)
seks_unit_test(test_vault_authorize vault_lib)

# 1,000 tenants with 10,000 secrets: `large --check` holds the times on a release build.
add_executable(vault_large vault/large.c)
target_link_libraries(vault_large PRIVATE seks_flags vault_lib)
add_test(NAME vault_large COMMAND vault_large 200 2000)
