# lowrank_embed(<out.cpp> <header> <namespace> function=file …): a source file that defines, for each pair, a function which
# returns the file's bytes as std::string_view. The program then needs no file at run time.
if(NOT CMAKE_SCRIPT_MODE_FILE)
  function(lowrank_embed out header namespace)
    set(files)
    foreach(pair ${ARGN})
      string(REGEX REPLACE "^[^=]*=" "" file ${pair})
      list(APPEND files ${file})
    endforeach()
    add_custom_command(OUTPUT ${out} DEPENDS ${files} ${PROJECT_SOURCE_DIR}/cmake/Embed.cmake VERBATIM
      COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DHEADER=${header} -DNAMESPACE=${namespace} "-DPAIRS=${ARGN}"
              -P ${PROJECT_SOURCE_DIR}/cmake/Embed.cmake)
    set_source_files_properties(${out} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
  endfunction()
  return()
endif()

set(text "#include \"${HEADER}\"\n\nnamespace ${NAMESPACE} {\n")
foreach(pair ${PAIRS})
  string(REGEX MATCH "^([^=]*)=(.*)$" _ ${pair})
  set(name ${CMAKE_MATCH_1})
  file(READ ${CMAKE_MATCH_2} bytes HEX)
  string(REGEX REPLACE "(..)" "\\\\x\\1" bytes ${bytes})
  string(REGEX REPLACE "(................................................................)" "\\1\"\n\"" bytes ${bytes})
  string(APPEND text "std::string_view ${name}() {\n  static constexpr char kBytes[] =\n\"${bytes}\";\n"
                     "  return {kBytes, sizeof(kBytes) - 1};\n}\n")
endforeach()
file(WRITE ${OUT} "${text}}  // namespace ${NAMESPACE}\n")
