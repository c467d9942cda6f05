// Sums of matrix products on a processor's matrix unit (AMX), tile by tile: what libtorch's block kernel has no form for, many short
// products with one matrix added up in registers.
#pragma once

#include <c10/util/BFloat16.h>
#include <cstdint>
#include <span>

namespace lowrank::kernels {

/// Whether this processor has the unit and this program was built for it (has_tiles() and x86-64).
bool has_matrix_unit();

/// Columns of one panel of packed numbers.
constexpr int64_t kUnitPanel = 64;

/// Packs a frozen matrix M [rows, taps, columns], contiguous, for products over its rows or over its columns.
struct FrozenMatrix {
  const at::BFloat16* data;
  int64_t rows, taps, columns;

  /// From M's rows first … first + width and columns depth_first … + depth: element (tap, c, r) as right factor [taps·depth, width].
  void pack_rows(int64_t first, int64_t width, int64_t depth_first, int64_t depth, at::BFloat16* packed) const;
  /// From M's columns first … first + width and rows depth_first … + depth: element (tap, r, c) as right factor [taps·depth, width].
  void pack_columns(int64_t first, int64_t width, int64_t depth_first, int64_t depth, at::BFloat16* packed) const;
};

/// C [rows, kUnitPanel] = or += Σ_t P_t·Q_t for P_t [rows, depth] at p + offsets[t]·stride, rows `stride` apart, and Q = (Q_0, Q_1, …) as
/// packed above; rows is a multiple of 16, depth of 32, width of 16. Between loading and releasing the unit; single-threaded.
void add_unit_products(int64_t rows, int64_t width, int64_t depth, const at::BFloat16* p, int64_t stride, std::span<const int64_t> offsets,
                       const at::BFloat16* packed, float* c, bool add);

/// The unit as one thread uses it.
class UnitScope {
 public:
  UnitScope();
  ~UnitScope();
  UnitScope(const UnitScope&) = delete;
  UnitScope& operator=(const UnitScope&) = delete;
};

}  // namespace lowrank::kernels
