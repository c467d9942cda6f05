// x·Aᵀ for an A of few rows.
#pragma once

#include <ATen/core/Tensor.h>

namespace lowrank::kernels {

/// x [N, I] · Aᵀ → [N, R]; A [R, I] in x's dtype. Not differentiable.
at::Tensor rank_projection(const at::Tensor& x, const at::Tensor& A);

/// The matrix [n, m] as contiguous [n, columns], with zeros on the right. No copy where it is that already.
at::Tensor with_columns(const at::Tensor& matrix, int64_t columns);

/// A [R, n·taps] float32 as three bfloat16 matrices whose sum it is, one below the other, for each tap: [taps, rows, n], 3·R rows and zeros
/// below up to a multiple of 16, which the matrix unit takes at a time.
at::Tensor split_by_taps(const at::Tensor& A, int64_t taps);

/// Of the products of those rows with W's, sums [rows, columns] with rows `stride` apart, W·Aᵀ: to [columns, R].
void join_parts(int64_t rank, int64_t columns, const float* sums, int64_t stride, float* to);

/// What one reading of W gives: a frozen layer's product with its input, and W·Aᵀ as wide_projection() has it.
struct ProductAndProjection {
  at::Tensor product, projected;
};

/// W·Aᵀ in A's dtype, for W [O, taps·n] that may be narrower and A [R, n·taps]: W's columns have the tap first, A's the channel. A bfloat16
/// W is not widened where there is a matrix unit: A is the sum of three bfloat16 matrices to float32's last digit, and their products with
/// W are exact.
at::Tensor wide_projection(const at::Tensor& weight, const at::Tensor& A, int64_t taps = 1);

}  // namespace lowrank::kernels
