// Group norm (Wu & He, arXiv 1803.08494) of pictures whose channels come last, with the SiLU that follows it in diffusion models.
#pragma once

#include <ATen/core/Tensor.h>

namespace lowrank::kernels {

/// y = f((x − mean)/√(variance + eps)·weight + bias), mean and variance over a picture's pixels and channels of one of `groups`, f SiLU or
/// nothing; x [N, C, H, W], weight and bias [C]. Differentiable in x; also in weight and bias where they train.
/// On the CPU in float32 and bfloat16 with channels last, and frozen parameters, it is one function: sums in float32, rounded once, x and
/// the statistics kept for the backward pass. Else libtorch's two.
at::Tensor group_norm(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias, double eps, bool silu);

}  // namespace lowrank::kernels
