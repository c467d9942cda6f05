// Sums over the rows of a matrix, in float32 or wider, in one pass.
#pragma once

#include <ATen/core/Tensor.h>

namespace lowrank::kernels {

/// sums[j] += Σ_i a[i, j] and, with b, dots[j] += Σ_i a[i, j]·b[i, j], over `rows` rows of `columns` numbers without gaps. `sums`
/// may be null. Single-threaded.
void add_column_sums(int64_t rows, int64_t columns, const at::BFloat16* a, const at::BFloat16* b, float* dots, float* sums);
void add_column_sums(int64_t rows, int64_t columns, const float* a, const float* b, float* dots, float* sums);
void add_column_sums(int64_t rows, int64_t columns, const double* a, const double* b, double* dots, double* sums);

}  // namespace lowrank::kernels
