#include "lowrank/kernels/matrix_unit.h"

#include <algorithm>

#include "lowrank/base/error.h"
#include "lowrank/kernels/tile_product.h"
#include "lowrank/kernels/turn_square.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lowrank::kernels {

namespace {

constexpr int64_t kTileRows = 16, kTileDepth = 32;

using Words = uint16_t __attribute__((vector_size(64)));

/// 16 rows of `depth` numbers, `stride` apart, as pairs of numbers side by side: dword r of row i goes to row r, place i. Asks for the
/// same of the rows at `next`: the runs are too short for the processor to foresee them.
template <VectorUnit>
LOWRANK_ALWAYS_INLINE void turn_pairs(int64_t depth, const at::BFloat16* from, int64_t stride, const at::BFloat16* next, at::BFloat16* to) {
  for (int64_t k = 0; k < depth; k += kTileDepth) {
    SquareRow rows[kSquareSide];
    for (int i = 0; i < kSquareSide; ++i) __builtin_prefetch(next + i * stride + k);
    for (int i = 0; i < kSquareSide; ++i) __builtin_memcpy(&rows[i], from + i * stride + k, sizeof rows[i]);
    turn_square(rows);
    for (int i = 0; i < kSquareSide; ++i) __builtin_memcpy(to + (k / 2 + i) * 2 * kUnitPanel, &rows[i], sizeof rows[i]);
  }
}
LOWRANK_VECTOR_VERSIONS(void, turned_pairs, turn_pairs,
                        (int64_t depth, const at::BFloat16* from, int64_t stride, const at::BFloat16* next, at::BFloat16* to),
                        (depth, from, stride, next, to))

template <size_t... I>
LOWRANK_ALWAYS_INLINE void weave(const Words& a, const Words& b, Words& low, Words& high, std::index_sequence<I...>) {
  low = __builtin_shufflevector(a, b, (I % 2 == 0 ? static_cast<int>(I) / 2 : 32 + static_cast<int>(I) / 2)...);
  high = __builtin_shufflevector(a, b, (16 + (I % 2 == 0 ? static_cast<int>(I) / 2 : 32 + static_cast<int>(I) / 2))...);
}

/// `depth` rows of `width` numbers: the numbers of two rows side by side. Asks for the rows ahead, which lie far apart.
template <VectorUnit>
LOWRANK_ALWAYS_INLINE void weave_rows(int64_t depth, int64_t width, const at::BFloat16* from, int64_t stride, at::BFloat16* to) {
  constexpr int64_t kAhead = 24;
  for (int64_t k = 0; k < depth; k += 2, to += 2 * kUnitPanel) {
    const at::BFloat16 *first = from + k * stride, *second = first + stride;
    for (int64_t j = 0; j < width; j += 32) {
      __builtin_prefetch(first + kAhead * stride + j);
      __builtin_prefetch(second + kAhead * stride + j);
    }
    int64_t j = 0;
    for (; j + 32 <= width; j += 32) {
      Words a, b, low, high;
      __builtin_memcpy(&a, first + j, sizeof a);
      __builtin_memcpy(&b, second + j, sizeof b);
      weave(a, b, low, high, std::make_index_sequence<32>());
      __builtin_memcpy(to + 2 * j, &low, sizeof low);
      __builtin_memcpy(to + 2 * j + 32, &high, sizeof high);
    }
    for (; j < width; ++j) {
      to[2 * j] = first[j];
      to[2 * j + 1] = second[j];
    }
  }
}
LOWRANK_VECTOR_VERSIONS(void, woven_rows, weave_rows,
                        (int64_t depth, int64_t width, const at::BFloat16* from, int64_t stride, at::BFloat16* to),
                        (depth, width, from, stride, to))

}  // namespace

void FrozenMatrix::pack_rows(int64_t first, int64_t width, int64_t depth_first, int64_t depth, at::BFloat16* packed) const {
  for (int64_t r = 0; r < width; r += kSquareSide) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      const at::BFloat16* from = data + ((first + r) * taps + tap) * columns + depth_first;
      turned_pairs(depth, from, taps * columns, tap + 1 < taps ? from + columns : from + (kSquareSide * taps - tap) * columns,
                   packed + tap * depth * kUnitPanel + 2 * r);
    }
  }
}

void FrozenMatrix::pack_columns(int64_t first, int64_t width, int64_t depth_first, int64_t depth, at::BFloat16* packed) const {
  for (int64_t tap = 0; tap < taps; ++tap) {
    woven_rows(depth, width, data + (depth_first * taps + tap) * columns + first, taps * columns, packed + tap * depth * kUnitPanel);
  }
}

#if defined(__x86_64__)

namespace {

#define LOWRANK_MATRIX_UNIT __attribute__((target("amx-tile,amx-bf16,avx512f")))

struct alignas(64) Configuration {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};
};

struct Products {
  int64_t depth;
  const at::BFloat16* p;
  int64_t stride;
  std::span<const int64_t> offsets;
  const at::BFloat16* packed;
  bool add;
};

constexpr int64_t kPackedRow = 2 * kUnitPanel * static_cast<int64_t>(sizeof(at::BFloat16)),
                  kSumRow = kUnitPanel * static_cast<int64_t>(sizeof(float));

/// 32 × 32 sums: tiles 0 … 3.
LOWRANK_MATRIX_UNIT void square_products(const Products& s, float* c) {
  float* below = c + kTileRows * kUnitPanel;
  if (s.add) {
    _tile_loadd(0, c, kSumRow);
    _tile_loadd(1, c + kTileRows, kSumRow);
    _tile_loadd(2, below, kSumRow);
    _tile_loadd(3, below + kTileRows, kSumRow);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  const at::BFloat16* q = s.packed;
  const int64_t row = s.stride * static_cast<int64_t>(sizeof(at::BFloat16));
  for (const int64_t offset : s.offsets) {
    const at::BFloat16 *p = s.p + offset * s.stride, *low = p + kTileRows * s.stride;
    for (int64_t k = 0; k < s.depth; k += kTileDepth, q += kTileDepth * kUnitPanel) {
      _tile_loadd(4, p + k, row);
      _tile_loadd(6, q, kPackedRow);
      _tile_loadd(7, q + 2 * kTileRows, kPackedRow);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(5, low + k, row);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, c, kSumRow);
  _tile_stored(1, c + kTileRows, kSumRow);
  _tile_stored(2, below, kSumRow);
  _tile_stored(3, below + kTileRows, kSumRow);
}

/// 16 × 16 sums.
LOWRANK_MATRIX_UNIT void single_products(const Products& s, float* c) {
  if (s.add)
    _tile_loadd(0, c, kSumRow);
  else
    _tile_zero(0);
  const at::BFloat16* q = s.packed;
  const int64_t row = s.stride * static_cast<int64_t>(sizeof(at::BFloat16));
  for (const int64_t offset : s.offsets) {
    const at::BFloat16* p = s.p + offset * s.stride;
    for (int64_t k = 0; k < s.depth; k += kTileDepth, q += kTileDepth * kUnitPanel) {
      _tile_loadd(4, p + k, row);
      _tile_loadd(6, q, kPackedRow);
      _tile_dpbf16ps(0, 4, 6);
    }
  }
  _tile_stored(0, c, kSumRow);
}

LOWRANK_MATRIX_UNIT void load_unit() {
  Configuration configuration;
  for (int tile = 0; tile < 8; ++tile) {
    configuration.bytes[tile] = 64;
    configuration.rows[tile] = kTileRows;
  }
  _tile_loadconfig(&configuration);
}

LOWRANK_MATRIX_UNIT void release_unit() { _tile_release(); }

}  // namespace

// Asking libtorch has also asked the system for leave to use the unit's state.
bool has_matrix_unit() { return has_tiles(); }

UnitScope::UnitScope() { load_unit(); }
UnitScope::~UnitScope() { release_unit(); }

void add_unit_products(int64_t rows, int64_t width, int64_t depth, const at::BFloat16* p, int64_t stride, std::span<const int64_t> offsets,
                       const at::BFloat16* packed, float* c, bool add) {
  constexpr int64_t kSide = 2 * kTileRows;
  int64_t j = 0;
  for (; j + kSide <= width; j += kSide) {
    int64_t i = 0;
    for (; i + kSide <= rows; i += kSide) {
      square_products({depth, p + i * stride, stride, offsets, packed + 2 * j, add}, c + i * kUnitPanel + j);
    }
    for (; i < rows; i += kTileRows) {
      for (int64_t half = j; half < j + kSide; half += kTileRows) {
        single_products({depth, p + i * stride, stride, offsets, packed + 2 * half, add}, c + i * kUnitPanel + half);
      }
    }
  }
  for (; j < width; j += kTileRows) {
    for (int64_t i = 0; i < rows; i += kTileRows) {
      single_products({depth, p + i * stride, stride, offsets, packed + 2 * j, add}, c + i * kUnitPanel + j);
    }
  }
}

#else

bool has_matrix_unit() { return false; }
UnitScope::UnitScope() = default;
UnitScope::~UnitScope() = default;
void add_unit_products(int64_t, int64_t, int64_t, const at::BFloat16*, int64_t, std::span<const int64_t>, const at::BFloat16*, float*,
                       bool) {
  fail(ErrorKind::internal, "matrix unit", "this program was built for a processor without one");
}

#endif

}  // namespace lowrank::kernels
