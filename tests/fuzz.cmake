# Each target runs over its seeds in ctest; with SEKS_FUZZ (clang, preset `fuzz`) it is a libFuzzer
# program: build/fuzz/tests/fuzz_messages -max_total_time=600 tests/fuzz/seeds/messages
function(seks_fuzz_target name seeds)
  add_executable(${name} fuzz/${name}.c)
  target_link_libraries(${name} PRIVATE seks_flags ${ARGN})
  if(SEKS_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    return()
  endif()
  target_sources(${name} PRIVATE fuzz/replay.c)
  add_test(NAME ${name} COMMAND ${name} ${SEKS_FUZZ_CHANGES} ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/seeds/${seeds})
endfunction()

seks_fuzz_target(fuzz_messages messages proto)
seks_fuzz_target(fuzz_vet vet gateway_lib)
seks_fuzz_target(fuzz_http1 http1 proxy_lib)
seks_fuzz_target(fuzz_chunks chunks proxy_lib)
seks_fuzz_target(fuzz_request request proxy_lib)
seks_fuzz_target(fuzz_audit_log audit_log audit_lib audit_check)
seks_fuzz_target(fuzz_shares shares vault_lib)
set(SEKS_FUZZ_CHANGES -changes=200) # under the sanitizer each of these runs takes a millisecond
seks_fuzz_target(fuzz_scrub scrub proxy_lib)
seks_fuzz_target(fuzz_providers providers providers)
seks_fuzz_target(fuzz_grant grant proto common)
