// Matrix products in bfloat16 with float32 sums on a processor's matrix unit (AMX). What libtorch's products cannot do: few columns at full
// speed, sums that stay in float32, a sum that goes on from another product's, and any size without compiling a kernel for it first.
#pragma once

#include <ATen/core/Tensor.h>

namespace lowrank::kernels {

/// Whether this processor has such a unit and libtorch uses it.
bool has_tiles();

/// Columns that are packed, and multiplied, at a time.
constexpr int64_t kTilePanel = 32;

/// Numbers that pack_tiles() writes for Q [depth, columns].
int64_t packed_size(int64_t depth, int64_t columns);

/// Q [depth, columns], rows `stride` apart, in the unit's own order: panels of kTilePanel columns (the last one's a multiple of 16),
/// in which the two numbers of a pair of rows lie side by side. depth is even.
void pack_tiles(int64_t depth, int64_t columns, const at::BFloat16* q, int64_t stride, at::BFloat16* packed);

/// The same for Q = Rᵀ, given R [columns, depth] with rows `stride` apart.
void pack_turned_tiles(int64_t depth, int64_t columns, const at::BFloat16* r, int64_t stride, at::BFloat16* packed);

/// The same of a tensor [depth, columns] in any dtype and layout, as a tensor.
at::Tensor packed_tiles(const at::Tensor& q);

/// C = P·Q, or C += P·Q. P [rows, depth] and C [rows, columns], rows p_stride and c_stride apart; depth is even. Single-threaded, in a
/// TileScope. A depth that is a multiple of 32 is fastest; of one that is twice a prime two numbers at a time are multiplied.
void tile_product(int64_t rows, int64_t columns, int64_t depth, const at::BFloat16* p, int64_t p_stride, const at::BFloat16* packed,
                  float* c, int64_t c_stride, bool add);

/// Takes the unit for a thread's work, and gives it back to other code when that is done.
struct TileScope {
  TileScope();
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;
  ~TileScope();
};

}  // namespace lowrank::kernels
