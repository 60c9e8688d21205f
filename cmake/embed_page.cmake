# Turns the FILES (a |-separated list, in DIR) into one C file OUT: the table page_files[], each file
# as it is and gzipped, with an entity tag of its content.
# cmake -DDIR=... -DFILES=... -DOUT=... -P embed_page.cmake
string(REPLACE "|" ";" FILES "${FILES}")
set(type_html "text/html; charset=utf-8")
set(type_js "text/javascript; charset=utf-8")
set(type_css "text/css; charset=utf-8")
set(type_svg "image/svg+xml")

function(bytes_of file ret)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "(........................)" "\\1\n" hex "${hex}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  set(${ret} "${bytes}" PARENT_SCOPE)
endfunction()

set(rows "")
set(arrays "")
foreach(file ${FILES})
  string(MAKE_C_IDENTIFIER ${file} name)
  string(REGEX REPLACE ".*[.]" "" extension ${file})
  execute_process(COMMAND gzip -9nc ${DIR}/${file} OUTPUT_FILE ${OUT}.gz COMMAND_ERROR_IS_FATAL ANY)
  bytes_of(${DIR}/${file} plain)
  bytes_of(${OUT}.gz packed)
  file(REMOVE ${OUT}.gz)
  file(SHA256 ${DIR}/${file} hash)
  string(SUBSTRING ${hash} 0 20 hash)
  set(path "/assets/${file}")
  if(file STREQUAL "index.html")
    set(path "/")
  endif()
  string(APPEND arrays "static const uint8_t ${name}[] = {\n${plain}};\n"
    "static const uint8_t ${name}_gz[] = {\n${packed}};\n")
  string(APPEND rows "    {\"${path}\", \"${type_${extension}}\", \"W/\\\"${hash}\\\"\", ${name}, "
    "sizeof ${name},\n     ${name}_gz, sizeof ${name}_gz},\n")
endforeach()
file(WRITE ${OUT} "/* Generated from the files of services/gateway/page; see cmake/embed_page.cmake. */
#include \"services/gateway/page.h\"

${arrays}
const struct page_file page_files[] = {
${rows}    {NULL, NULL, NULL, NULL, 0, NULL, 0},
};
")
