# lowrank_registry(<table.def> <out-variable> [prefix]): the source files named by a table of LOWRANK_…(name) lines.
# The same table makes the C++ array, so a new kind is one file and one line, seen by both.
function(lowrank_registry table out)
  set(path ${PROJECT_SOURCE_DIR}/src/lowrank/${table})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${path})
  file(STRINGS ${path} lines REGEX "^LOWRANK_")
  set(sources)
  foreach(line ${lines})
    string(REGEX REPLACE "^LOWRANK_[A-Z_]+\\(([a-z0-9_]+).*" "\\1" name ${line})
    list(APPEND sources ${ARGN}${name}.cpp)
  endforeach()
  set(${out} ${sources} PARENT_SCOPE)
endfunction()
