# lowrank_torch: the one target that stands for libtorch. Found in TORCH_DIR (a torch wheel's package folder or an
# unpacked libtorch), else in the project's .venv. TorchConfig.cmake is passed by: from a CUDA wheel it demands a toolkit.
set(TORCH_DIR "$ENV{TORCH_DIR}" CACHE PATH "folder with libtorch's include/ and lib/")
if(NOT TORCH_DIR)
  file(GLOB candidates ${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch)
  list(POP_FRONT candidates TORCH_DIR)
endif()
if(NOT EXISTS ${TORCH_DIR}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "no libtorch found (looked in '${TORCH_DIR}'): run 'make setup', or give -DTORCH_DIR=<folder of the torch package>")
endif()

# Our sources use the C++ interface of 2.11 to 2.13.
file(STRINGS ${TORCH_DIR}/include/torch/headeronly/version.h torch_version_lines REGEX "define TORCH_VERSION_(MAJOR|MINOR) ")
string(REGEX REPLACE ".*MAJOR ([0-9]+).*MINOR ([0-9]+).*" "\\1.\\2" LOWRANK_TORCH_VERSION "${torch_version_lines}")
if(LOWRANK_TORCH_VERSION VERSION_LESS 2.11 OR LOWRANK_TORCH_VERSION VERSION_GREATER 2.13)
  message(FATAL_ERROR "libtorch ${LOWRANK_TORCH_VERSION} in ${TORCH_DIR}: expected 2.11 to 2.13")
endif()
message(STATUS "libtorch ${LOWRANK_TORCH_VERSION}: ${TORCH_DIR}")

add_library(lowrank_torch INTERFACE)
target_include_directories(lowrank_torch SYSTEM INTERFACE
  $<BUILD_INTERFACE:${TORCH_DIR}/include> $<BUILD_INTERFACE:${TORCH_DIR}/include/torch/csrc/api/include>)
target_link_directories(lowrank_torch INTERFACE $<BUILD_INTERFACE:${TORCH_DIR}/lib>)
target_link_libraries(lowrank_torch INTERFACE torch_cpu c10)
# The torch wheel carries fmt headers of its own version, which come before the system's: torch layers use them, with tensor/fmt.cpp
# for a body; the torch-free ones the system's library. The versions live in different inline namespaces and only std types cross.
target_compile_definitions(lowrank_torch INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
# The CUDA library registers its kernels when loaded; nothing refers to it by name, so the linker must be told to keep it.
if(EXISTS ${TORCH_DIR}/lib/libtorch_cuda.so)
  target_link_libraries(lowrank_torch INTERFACE "-Wl,--no-as-needed" torch_cuda c10_cuda "-Wl,--as-needed")
endif()
set(CMAKE_BUILD_RPATH ${TORCH_DIR}/lib)
set(CMAKE_INSTALL_RPATH ${TORCH_DIR}/lib)
