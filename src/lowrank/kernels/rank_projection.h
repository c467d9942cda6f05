// x·Aᵀ for an A of few rows.
#pragma once

#include <ATen/core/Tensor.h>

namespace lowrank::kernels {

/// x [N, I] · Aᵀ → [N, R]; A [R, I] in x's dtype. Not differentiable.
at::Tensor rank_projection(const at::Tensor& x, const at::Tensor& A);

/// The matrix [n, m] as contiguous [n, columns], with zeros on the right. No copy where it is that already.
at::Tensor with_columns(const at::Tensor& matrix, int64_t columns);

}  // namespace lowrank::kernels
