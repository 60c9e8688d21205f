seks_unit_test(test_http1 proxy_lib PkgConfig::ZLIB)
seks_unit_test(test_scrub proxy_lib)
seks_unit_test(test_sigv4 proxy_lib)
seks_unit_test(test_chunks proxy_lib)
seks_unit_test(test_sends proxy_lib)
# With the sanitizer nothing is kept, but here.
seks_unit_test(test_spare)
target_sources(test_spare PRIVATE ${CMAKE_SOURCE_DIR}/services/proxy/spare.c)
target_compile_definitions(test_spare PRIVATE SPARES_ALWAYS)
# Not a test: figures for docs/performance.md.
add_executable(scrub_bench bench/scrub_bench.c)
target_link_libraries(scrub_bench PRIVATE seks_flags proxy_lib)


add_executable(sign_lines tools/sign_lines.c)
target_link_libraries(sign_lines PRIVATE seks_flags proxy_lib PkgConfig::JANSSON)
