// Reads tests/golden/diffusion, which tools/golden/schedulers.py makes with diffusers.
#pragma once

#include <ATen/ops/tensor.h>
#include <filesystem>
#include <string>
#include <vector>

#include "lowrank/base/json.h"

namespace lowrank::test {

inline std::filesystem::path golden_file(const std::string& name) {
  return std::filesystem::path(LOWRANK_SOURCE_DIR) / "tests/golden/diffusion" / name;
}

inline std::vector<double> numbers(const Json& list) { return list.get<std::vector<double>>(); }

inline at::Tensor tensor_of(const Json& list, at::IntArrayRef shape) {
  const std::vector<double> values = numbers(list);
  return at::tensor(at::ArrayRef<double>(values)).view(shape);
}

}  // namespace lowrank::test
