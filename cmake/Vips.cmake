# lowrank_vips: libvips as an imported target. pkg-config's own target would hand its -pthread to every layer, which clang
# refuses beside a precompiled header made without it; and a program that reads no picture need not load libvips. Its
# headers are for data's own files alone.
pkg_check_modules(vips REQUIRED vips>=8.13)
if(NOT TARGET lowrank_vips)
  add_library(lowrank_vips INTERFACE IMPORTED)
  target_link_options(lowrank_vips INTERFACE ${vips_LDFLAGS_OTHER})
  target_link_directories(lowrank_vips INTERFACE ${vips_LIBRARY_DIRS})
  list(TRANSFORM vips_LIBRARIES PREPEND -l OUTPUT_VARIABLE vips_flags)
  target_link_libraries(lowrank_vips INTERFACE -Wl,--push-state,--as-needed ${vips_flags} -Wl,--pop-state)
endif()
