// What an adapter adds to a layer's product, in one pass over the rows: bfloat16 on a processor's matrix unit.
#pragma once

#include "lowrank/kernels/lowrank_update.h"

namespace lowrank::kernels {

/// Whether rows of this dtype and device can be given to the functions below: there is a unit, and the widths n, k and R are even.
bool has_cpu_apply(const LowRankUpdate& update, const at::Tensor& rows);

/// y ← gain ⊙ (y + scale·(mix ⊗ (B·A))·x) + bias; y [N, O] holds x·Wᵀ, x [N, I], both bfloat16 without gaps; bias [O] or undefined,
/// without a mix alone.
/// A, B, gain and mix may be wider: A and B are rounded once, gain and mix stay as they are, y is rounded once at the end.
void cpu_apply_update_(const at::Tensor& y, const at::Tensor& x, const LowRankUpdate& update, const at::Tensor& bias);

/// x·Aᵀ [N, columns] in float32 for x [N, n] bfloat16 without gaps, columns A's rows rounded up to a multiple of 16, the rest zero.
at::Tensor cpu_project(const at::Tensor& x, const at::Tensor& A);

/// cpu_apply_update_ for the projections that cpu_project makes, h [N·m, columns].
void cpu_apply_projected_(const at::Tensor& y, const at::Tensor& h, const LowRankUpdate& update, const at::Tensor& bias);

/// dx ← dx + g·A; dx [N, m·n] and g [N·m, R] bfloat16 without gaps.
void cpu_add_input_gradient_(const at::Tensor& dx, const at::Tensor& g, const LowRankUpdate& update);

}  // namespace lowrank::kernels
