// Frozen weights in the matrix unit's order, kept from one step to the next.
#pragma once

#include <ATen/core/Tensor.h>
#include <functional>
#include <memory>

#include "lowrank/kernels/buffer.h"

namespace lowrank::kernels {

/// Bytes that are kept, of all weights together.
constexpr int64_t kMostKept = 64 << 20;

/// The ways in which one weight is packed: as it lies or turned, in so many blocks.
struct Packing {
  bool turned;
  int64_t blocks;
  auto operator<=>(const Packing&) const = default;
};

/// What pack() writes for the weight, `size` numbers: now, or when it did before; null where there is no room for it. What was kept goes
/// with the weight's memory, and when the weight is written to. Weights without a version counter (inference tensors) are not kept.
std::shared_ptr<const Buffer<at::BFloat16>> packed_weight(const at::Tensor& weight, const Packing& packing, int64_t size,
                                                          const std::function<void(at::BFloat16*)>& pack);

/// Bytes kept at present.
int64_t kept_bytes();

}  // namespace lowrank::kernels
