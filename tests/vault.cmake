# The vault: formats and rows by themselves, then the whole of it between a stand-in for the gateway
# and one for the audit daemon.
seks_unit_test(test_vault_store vault_lib)
seks_unit_test(test_vault_damage vault_lib)
seks_unit_test(test_vault_seal vault_lib)
seks_unit_test(test_vault_ops vault_lib)
seks_unit_test(test_vault_authorize vault_lib)
