# The page's files as one C file: include() this and add ${PAGE_SOURCES} to gateway_lib.
set(PAGE_DIR ${CMAKE_CURRENT_LIST_DIR}/page)
file(GLOB PAGE_FILES CONFIGURE_DEPENDS RELATIVE ${PAGE_DIR}
  ${PAGE_DIR}/*.html ${PAGE_DIR}/*.js ${PAGE_DIR}/*.css ${PAGE_DIR}/*.svg)
list(TRANSFORM PAGE_FILES PREPEND ${PAGE_DIR}/ OUTPUT_VARIABLE page_paths)
list(JOIN PAGE_FILES "|" page_list)
set(page_out ${CMAKE_CURRENT_BINARY_DIR}/page_files.c)
add_custom_command(OUTPUT ${page_out}
  COMMAND ${CMAKE_COMMAND} -DDIR=${PAGE_DIR} "-DFILES=${page_list}" -DOUT=${page_out}
    -P ${CMAKE_SOURCE_DIR}/cmake/embed_page.cmake
  DEPENDS ${page_paths} ${CMAKE_SOURCE_DIR}/cmake/embed_page.cmake VERBATIM)
set(PAGE_SOURCES ${CMAKE_CURRENT_LIST_DIR}/page.c ${page_out})
