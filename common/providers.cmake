# The table of providers; the built-in rows are config/providers.json, embedded.
set(providers_json ${CMAKE_SOURCE_DIR}/config/providers.json)
set(providers_builtin ${CMAKE_CURRENT_BINARY_DIR}/providers_builtin.c)
add_custom_command(OUTPUT ${providers_builtin}
  COMMAND ${CMAKE_COMMAND} -DIN=${providers_json} -DOUT=${providers_builtin}
    -DNAME=providers_builtin -P ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
  DEPENDS ${providers_json} ${CMAKE_SOURCE_DIR}/cmake/embed.cmake VERBATIM)
add_library(providers STATIC providers.c providers_check.c providers_deny.c providers_load.c
  providers_scope.c providers_values.c ${providers_builtin})
target_link_libraries(providers PUBLIC common PRIVATE PkgConfig::JANSSON)
