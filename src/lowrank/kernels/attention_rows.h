// What attention on a matrix unit does between its products: operands put into the unit's order, the softmax and its gradient.
// Padded matrices have multiples of kTileSide rows and of kTileDepth numbers of depth, with zeros beyond what there is.
#pragma once

#include <c10/util/BFloat16.h>
#include <cstdint>

namespace lowrank::kernels {

constexpr int64_t kTileSide = 16, kTileDepth = 32;

/// to [padded rows, padded depth] = from [rows, depth], rows `stride` apart.
void gather_rows(int64_t rows, int64_t depth, const at::BFloat16* from, int64_t stride, at::BFloat16* to);

/// from [rows, columns], both padded, as pack_tiles() gives it.
void pack_pairs(int64_t rows, int64_t columns, const at::BFloat16* from, at::BFloat16* packed);

/// The same of fromᵀ [depth, rows].
void pack_turned(int64_t rows, int64_t depth, const at::BFloat16* from, at::BFloat16* packed);

/// p = e^(scale·x − highest) of scores [rows, width], whose first `keys` columns count; the highest scale·x and the inverse of
/// the sum of each row's p.
void softmax_rows(int64_t rows, int64_t keys, int64_t width, float* scores, float scale, at::BFloat16* p, float* highest, float* inverse);

/// to [rows, depth] = factors[row]·sums, or sums without factors.
void write_rows(int64_t rows, int64_t depth, const float* sums, int64_t sums_stride, const float* factors, at::BFloat16* to,
                int64_t stride);

/// results[row] = Σ_c a[row, c]·b[row, c].
void row_products(int64_t rows, int64_t depth, const at::BFloat16* a, const at::BFloat16* b, int64_t stride, float* results);

/// With the queries side by side: p = e^(scale·x − highest)·inverse of scores x [keys, width], and ds = scale·p·(dp − means), which
/// replaces dp as well. highest, inverse and means are rows of `width`.
void softmax_gradients(int64_t keys, int64_t width, const float* scores, float* dp, float scale, const float* highest, const float* inverse,
                       const float* means, at::BFloat16* p, at::BFloat16* ds);

}  // namespace lowrank::kernels
