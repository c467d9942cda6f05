# cmake --install: headers, layer archives, the program, and the package that find_package(lowrank) reads.
include(CMakePackageConfigHelpers)
get_property(layers GLOBAL PROPERTY LOWRANK_LAYERS)
if(LOWRANK_WITH_TORCH)
  list(APPEND layers lowrank_torch)
  set_target_properties(lowrank_torch PROPERTIES EXPORT_NAME torch)
endif()
install(TARGETS ${layers} EXPORT lowrank ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY src/lowrank DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h" PATTERN "*.def")
if(TARGET lowrank)
  install(TARGETS lowrank lowrank-main RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(EXPORT lowrank NAMESPACE lowrank:: FILE lowrankTargets.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/lowrank)
configure_package_config_file(cmake/lowrankConfig.cmake.in ${PROJECT_BINARY_DIR}/lowrankConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/lowrank)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/lowrankConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/lowrankConfig.cmake ${PROJECT_BINARY_DIR}/lowrankConfigVersion.cmake cmake/Vips.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/lowrank)
