// One pass over a layer's input, output and output's gradient, on the CPU.
#pragma once

#include "lowrank/kernels/lowrank_gradients.h"

namespace lowrank::kernels {

/// float32 and float64; bfloat16 where there is a matrix unit and the widths n and k are even. At least one row.
bool has_cpu_lowrank_gradients(const LowRankUpdate& update, const GradientRequest& request);

/// lowrank_gradients where has_cpu_lowrank_gradients(). In bfloat16 sums are float32, and rank-space activations are rounded once
/// before they are multiplied again.
LowRankGradients cpu_lowrank_gradients(const LowRankUpdate& update, const GradientRequest& request);

/// Σ_i g[i]ᵀ·x[i], [C, n]: x [N, n] bfloat16 and g [N, C] float32 without gaps, C a multiple of 16, on a matrix unit.
at::Tensor cpu_outer_sum(const at::Tensor& x, const at::Tensor& g);

}  // namespace lowrank::kernels
