# The vault: formats and rows by themselves, then the whole of it between a stand-in for the gateway
# and one for the audit daemon.
seks_unit_test(test_vault_store vault_lib)
seks_unit_test(test_vault_damage vault_lib)
seks_unit_test(test_vault_seal vault_lib)
seks_unit_test(test_vault_reseal vault_lib)
seks_unit_test(test_vault_ops vault_lib)
seks_unit_test(test_vault_authorize vault_lib)
seks_unit_test(test_vault_unseal vault_lib)
target_link_options(test_vault_unseal PRIVATE -Wl,--wrap=loop_every)

# The same on PostgreSQL: a server for all of them, below /tmp for the length of its socket's path.
string(MD5 postgres_dir ${CMAKE_BINARY_DIR})
string(SUBSTRING ${postgres_dir} 0 12 postgres_dir)
set(postgres_dir /tmp/seks-postgres-${postgres_dir})
set(postgres_tool ${CMAKE_CURRENT_SOURCE_DIR}/tools/postgres)
add_test(NAME postgres_start COMMAND ${postgres_tool} fixture ${postgres_dir})
add_test(NAME postgres_stop COMMAND ${postgres_tool} stop ${postgres_dir})
set_tests_properties(postgres_start PROPERTIES FIXTURES_SETUP postgres)
set_tests_properties(postgres_stop PROPERTIES FIXTURES_CLEANUP postgres)
foreach(name throttle vault_store vault_seal vault_reseal vault_ops vault_authorize vault_sessions)
  add_test(NAME test_${name}_postgres COMMAND test_${name})
  set_tests_properties(test_${name}_postgres PROPERTIES FIXTURES_REQUIRED postgres
    ENVIRONMENT SEKS_TEST_POSTGRES_FILE=${postgres_dir}.url)
endforeach()

# 1,000 tenants with 10,000 secrets: `large --check` holds the times on a release build.
add_executable(vault_large vault/large.c)
target_link_libraries(vault_large PRIVATE seks_flags vault_lib)
add_test(NAME vault_large COMMAND vault_large 200 2000)
