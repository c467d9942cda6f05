// The device that laws and goldens run on: LOWRANK_TEST_DEVICE=cuda where there is one, else the CPU.
#pragma once

#include <cstdlib>

#include "lowrank/tensor/load.h"
#include "lowrank/tensor/runtime.h"

namespace lowrank::test {

inline std::string test_device_name() {
  const char* wanted = std::getenv("LOWRANK_TEST_DEVICE");
  return wanted == nullptr ? "cpu" : wanted;
}

inline at::Device test_device() {
  static const at::Device device = tensor::parse_device(test_device_name());
  return device;
}

/// A file's tensors on that device.
inline tensor::TensorMap load_golden(const std::filesystem::path& path) {
  tensor::TensorMap tensors = tensor::load_tensors(path);
  for (auto& [name, value] : tensors) value = value.to(test_device());
  return tensors;
}

}  // namespace lowrank::test
