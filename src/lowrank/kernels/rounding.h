// Rounding float32 results to bfloat16 on their way to the next product.
#pragma once

#include <c10/util/BFloat16.h>
#include <cstdint>

namespace lowrank::kernels {

/// to[i] = from[i], i < count.
void round_numbers(int64_t count, const float* from, at::BFloat16* to);

/// to[row·stride + c] = factor·factors[row]·from[row·from_stride + c] for c < columns, and zeros up to `stride`; factors may be null.
void round_rows(int64_t rows, int64_t columns, const float* from, int64_t from_stride, float factor, const float* factors, at::BFloat16* to,
                int64_t stride);
void round_rows(int64_t rows, int64_t columns, const at::BFloat16* from, int64_t from_stride, float factor, const float* factors,
                at::BFloat16* to, int64_t stride);

/// to[column·rows + row] = factors[column]·from[row·columns + column], without rounding.
void turn_scaled(int64_t rows, int64_t columns, const float* from, const float* factors, float* to);

/// to = from·gain for `rows` rows of `columns` numbers without gaps; gain [columns].
void scale_columns(int64_t rows, int64_t columns, const at::BFloat16* from, const float* gain, at::BFloat16* to);

/// y = sums·gain + bias for `rows` rows of `columns` numbers; gain and bias [columns] may be null.
void write_sums(int64_t rows, int64_t columns, const float* sums, int64_t sums_stride, const float* gain, const float* bias,
                at::BFloat16* y, int64_t y_stride);

/// to[column·stride + row] = from[row·columns + column]: rounded and turned.
void turn_rounded(int64_t rows, int64_t columns, const float* from, at::BFloat16* to, int64_t stride);

/// y = (y + sums)·gain + bias for `rows` rows of `columns` numbers, rounded once; gain and bias [columns] may be null.
void finish_rows(int64_t rows, int64_t columns, at::BFloat16* y, int64_t y_stride, const float* sums, int64_t sums_stride,
                 const float* gain, const float* bias);

}  // namespace lowrank::kernels
