// Matrix products in bfloat16 with float32 sums on a processor's matrix unit (AMX), by libtorch's block kernel. What its general
// products cannot do: few columns at full speed, sums that stay in float32, and a sum that goes on from another product's.
#pragma once

#include <ATen/core/Tensor.h>

namespace lowrank::kernels {

/// Whether this processor has such a unit and libtorch uses it.
bool has_tiles();

/// Columns that are packed, and multiplied, at a time: the widest that libtorch packs.
constexpr int64_t kTilePanel = 64;

/// Numbers that pack_tiles() writes for Q [depth, columns].
int64_t packed_size(int64_t depth, int64_t columns);

/// Q [depth, columns], rows `stride` apart, in the unit's own order: panels of kTilePanel columns (the last one's a multiple of 16),
/// in which the two numbers of a pair of rows lie side by side. depth is even.
void pack_tiles(int64_t depth, int64_t columns, const at::BFloat16* q, int64_t stride, at::BFloat16* packed);

/// The same of a tensor [depth, columns] in any dtype and layout, as a tensor.
at::Tensor packed_tiles(const at::Tensor& q);

/// C = P·Q, or C += P·Q. P [rows, depth] and C [rows, columns], rows p_stride and c_stride apart; depth is even. Single-threaded.
/// libtorch compiles a kernel for each size that it meets: full blocks of 16 rows share a few, the rows that are left go by themselves
/// through one of 16. Callers keep `depth` and `columns` to few values.
void tile_product(int64_t rows, int64_t columns, int64_t depth, const at::BFloat16* p, int64_t p_stride, const at::BFloat16* packed,
                  float* c, int64_t c_stride, bool add);

/// Gives the unit back to other code when a thread's work is done.
struct TileScope {
  TileScope() = default;
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;
  ~TileScope();
};

}  // namespace lowrank::kernels
