// Tensors by formula on the tests' device, equal here and in tools/golden/*.py: element i of salt k is mix(i + 1, k) scaled to [−scale,
// scale).
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <cstdint>

#include "support/device.h"

namespace lowrank::test {

inline double fixed_value(uint32_t index, uint32_t salt) {
  uint32_t h = (index + 1) * 2654435761U + salt * 40503U;
  for (int round = 0; round < 2; ++round) h = (h ^ (h >> 16)) * 0x45D9F3BU;
  return (h ^ (h >> 16)) / 2147483648.0 - 1.0;
}

inline at::Tensor fixed(at::IntArrayRef shape, uint32_t salt, double scale = 1.0, c10::ScalarType dtype = at::kDouble) {
  at::Tensor values = at::empty(shape, at::kDouble);
  double* out = values.mutable_data_ptr<double>();
  for (int64_t i = 0; i < values.numel(); ++i) out[i] = scale * fixed_value(static_cast<uint32_t>(i), salt);
  return values.to(test_device(), dtype);
}

}  // namespace lowrank::test
