# The page's files as C arrays: include() this and add ${PAGE_SOURCES} to gateway_lib.
set(PAGE_SOURCES ${CMAKE_CURRENT_LIST_DIR}/page.c)
foreach(file index.html app.js style.css)
  string(REPLACE "." "_" name page_${file})
  set(out ${CMAKE_CURRENT_BINARY_DIR}/${name}.c)
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DIN=${CMAKE_CURRENT_LIST_DIR}/page/${file} -DOUT=${out}
      -DNAME=${name} -P ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
    DEPENDS ${CMAKE_CURRENT_LIST_DIR}/page/${file} ${CMAKE_SOURCE_DIR}/cmake/embed.cmake)
  list(APPEND PAGE_SOURCES ${out})
endforeach()
