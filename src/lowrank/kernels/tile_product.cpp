#include "lowrank/kernels/tile_product.h"

#include <ATen/cpu/Utils.h>
#include <ATen/native/CPUBlas.h>
#include <ATen/ops/empty.h>
#include <algorithm>
#include <utility>

#include "lowrank/base/error.h"
#include "lowrank/kernels/turn_square.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lowrank::kernels {

namespace {

constexpr int64_t kSide = 16, kMostDepth = 32;  // of a tile
constexpr int64_t kMostPart = 512;              // of a product's depth: two tiles' columns of Q are then half of the first-level cache

int64_t padded(int64_t columns) { return (columns + kSide - 1) / kSide * kSide; }

using Words = uint16_t __attribute__((vector_size(2 * kSide)));

template <size_t... I>
LOWRANK_ALWAYS_INLINE void weave(const Words& even, const Words& odd, at::BFloat16* to, std::index_sequence<I...>) {
  const auto pairs = __builtin_shufflevector(even, odd, (static_cast<int>(I) / 2 + (I % 2 == 0 ? 0 : static_cast<int>(kSide)))...);
  __builtin_memcpy(to, &pairs, sizeof pairs);
}

/// A panel of `width` columns of Q [depth, ..].
template <VectorUnit>
LOWRANK_ALWAYS_INLINE void weave_panel(int64_t depth, int64_t width, const at::BFloat16* q, int64_t stride, at::BFloat16* to) {
  for (int64_t k = 0; k < depth; k += 2, to += 2 * padded(width)) {
    const at::BFloat16 *even = q + k * stride, *odd = even + stride;
    for (int64_t j = 0; j < width; j += kSide) {
      Words a = {}, b = {};
      if (j + kSide <= width) {
        __builtin_memcpy(&a, even + j, sizeof a);
        __builtin_memcpy(&b, odd + j, sizeof b);
      } else {
        __builtin_memcpy(&a, even + j, static_cast<size_t>(width - j) * sizeof *even);
        __builtin_memcpy(&b, odd + j, static_cast<size_t>(width - j) * sizeof *odd);
      }
      weave(a, b, to + 2 * j, std::make_index_sequence<2 * kSide>());
    }
  }
}
LOWRANK_VECTOR_VERSIONS(void, woven_panel, weave_panel,
                        (int64_t depth, int64_t width, const at::BFloat16* q, int64_t stride, at::BFloat16* to),
                        (depth, width, q, stride, to))

/// A panel of Qᵀ [depth, width]: two neighbours in a row of Q are one number here, and stay neighbours.
template <VectorUnit>
LOWRANK_ALWAYS_INLINE void turn_panel(int64_t depth, int64_t width, const at::BFloat16* q, int64_t stride, at::BFloat16* to) {
  const int64_t wide = padded(width);
  for (int64_t j = 0; j < width; j += kSide) {
    const int64_t columns = std::min(kSide, width - j);
    for (int64_t k = 0; k < depth; k += kMostDepth) {
      const int64_t count = std::min(kMostDepth, depth - k);
      SquareRow square[kSide] = {};
      for (int64_t i = 0; i < columns; ++i) {
        const at::BFloat16* from = q + (j + i) * stride + k;
        if (count == kMostDepth)
          __builtin_memcpy(&square[i], from, sizeof square[i]);
        else
          __builtin_memcpy(&square[i], from, static_cast<size_t>(count) * sizeof *from);
      }
      turn_square(square);
      for (int64_t i = 0; i < count / 2; ++i) __builtin_memcpy(to + (k + 2 * i) * wide + 2 * j, &square[i], sizeof square[i]);
    }
  }
}
LOWRANK_VECTOR_VERSIONS(void, turned_panel, turn_panel,
                        (int64_t depth, int64_t width, const at::BFloat16* q, int64_t stride, at::BFloat16* to),
                        (depth, width, q, stride, to))

/// body(first column, columns, where the panel lies in the packed numbers)
template <class Body>
void for_each_panel(int64_t depth, int64_t columns, Body&& body) {
  for (int64_t j = 0; j < columns; j += kTilePanel) body(j, std::min(kTilePanel, columns - j), j * depth);
}

}  // namespace

bool has_tiles() {
#if defined(__x86_64__)
  static const bool has = at::native::cpublas::could_pack(at::kBFloat16) && at::cpu::init_amx();
  return has;
#else
  return false;
#endif
}

int64_t packed_size(int64_t depth, int64_t columns) { return depth * padded(columns); }

void pack_tiles(int64_t depth, int64_t columns, const at::BFloat16* q, int64_t stride, at::BFloat16* packed) {
  for_each_panel(depth, columns, [&](int64_t j, int64_t width, int64_t at) { woven_panel(depth, width, q + j, stride, packed + at); });
}

void pack_turned_tiles(int64_t depth, int64_t columns, const at::BFloat16* q, int64_t stride, at::BFloat16* packed) {
  for_each_panel(depth, columns,
                 [&](int64_t j, int64_t width, int64_t at) { turned_panel(depth, width, q + j * stride, stride, packed + at); });
}

at::Tensor packed_tiles(const at::Tensor& q) {
  const at::Tensor narrow = q.to(at::kBFloat16).contiguous();
  at::Tensor packed = at::empty({packed_size(q.size(0), q.size(1))}, narrow.options());
  pack_tiles(q.size(0), q.size(1), narrow.const_data_ptr<at::BFloat16>(), q.size(1), packed.mutable_data_ptr<at::BFloat16>());
  return packed;
}

#if defined(__x86_64__)

namespace {

#define LOWRANK_TILES __attribute__((target("amx-tile,amx-bf16,avx512f")))

/// Of tiles: C [rows, columns], P [rows, depth], Q [depth, columns].
struct Shape {
  int64_t rows = 0, columns = 0, depth = 0;
  bool operator==(const Shape&) const = default;
};

struct alignas(64) Configuration {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};
};

thread_local Shape configured;

/// C in tiles 0 to 3, P in 4 and 5, Q in 6 and 7.
LOWRANK_TILES void configure(const Shape& shape) {
  if (configured == shape) return;
  Configuration configuration;
  for (int tile = 0; tile < 8; ++tile) {
    const bool is_p = tile == 4 || tile == 5, is_q = tile > 5;
    configuration.rows[tile] = static_cast<uint8_t>(is_q ? shape.depth / 2 : shape.rows);
    configuration.bytes[tile] = static_cast<uint16_t>(is_p ? 2 * shape.depth : 4 * shape.columns);
  }
  _tile_loadconfig(&configuration);
  configured = shape;
}

struct Operands {
  int64_t depth, step;  // step: of a tile
  const at::BFloat16* p;
  int64_t p_bytes;  // of a row
  const at::BFloat16* q;
  int64_t q_width;
  float* c;
  int64_t c_stride;
  bool add;

  Operands from(int64_t row, int64_t column) const {
    Operands moved = *this;
    moved.p += row * p_bytes / static_cast<int64_t>(sizeof *p);
    moved.q += 2 * column;
    moved.c += row * c_stride + column;
    return moved;
  }
};

/// Down × Across tiles of C.
template <int Down, int Across>
LOWRANK_TILES void multiply(const Operands& o) {
  const int64_t c_bytes = 4 * o.c_stride, q_bytes = 4 * o.q_width;
  float* below = o.c + kSide * o.c_stride;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  if (o.add) {
    _tile_loadd(0, o.c, c_bytes);
    if constexpr (Across == 2) _tile_loadd(1, o.c + kSide, c_bytes);
    if constexpr (Down == 2) _tile_loadd(2, below, c_bytes);
    if constexpr (Down == 2 && Across == 2) _tile_loadd(3, below + kSide, c_bytes);
  }
  const at::BFloat16 *p = o.p, *q = o.q;
  for (int64_t k = 0; k < o.depth; k += o.step, p += o.step, q += o.step * o.q_width) {
    _tile_loadd(4, p, o.p_bytes);
    _tile_loadd(6, q, q_bytes);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (Across == 2) {
      _tile_loadd(7, q + 2 * kSide, q_bytes);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (Down == 2) {
      _tile_loadd(5, p + kSide * o.p_bytes / static_cast<int64_t>(sizeof *p), o.p_bytes);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (Across == 2) _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, o.c, c_bytes);
  if constexpr (Across == 2) _tile_stored(1, o.c + kSide, c_bytes);
  if constexpr (Down == 2) _tile_stored(2, below, c_bytes);
  if constexpr (Down == 2 && Across == 2) _tile_stored(3, below + kSide, c_bytes);
}

/// Rows pass by while the columns' part of Q stays in the first-level cache.
template <int Across>
LOWRANK_TILES void multiply_stripe(int64_t rows, const Operands& o) {
  int64_t i = 0;
  for (; i + kSide < rows; i += 2 * kSide) multiply<2, Across>(o.from(i, 0));
  if (i < rows) multiply<1, Across>(o.from(i, 0));
}

/// Rows and columns that are multiples of the shape's.
LOWRANK_TILES void multiply_all(int64_t rows, int64_t columns, const Shape& shape, const Operands& o) {
  if (rows == 0 || columns == 0) return;
  configure(shape);
  int64_t j = 0;
  for (; j + kSide < columns; j += 2 * kSide) multiply_stripe<2>(rows, o.from(0, j));
  if (j < columns) multiply_stripe<1>(rows, o.from(0, j));
}

/// The deepest tile that divides the depth.
int64_t tile_depth(int64_t depth) {
  int64_t step = kMostDepth;
  while (depth % step != 0) step -= 2;
  return step;
}

LOWRANK_TILES void release() {
  _tile_release();
  configured = {};
}

}  // namespace

void tile_product(int64_t rows, int64_t columns, int64_t depth, const at::BFloat16* p, int64_t p_stride, const at::BFloat16* packed,
                  float* c, int64_t c_stride, bool add) {
  const int64_t step = tile_depth(depth), part = kMostPart / step * step, whole = rows / kSide * kSide, left = rows - whole;
  for_each_panel(depth, columns, [&](int64_t j, int64_t width, int64_t at) {
    const int64_t q_width = padded(width), wide = width / kSide * kSide, narrow = width - wide;
    for (int64_t k = 0; k < depth; k += part) {
      const Operands o{
          std::min(part, depth - k), step, p + k, 2 * p_stride, packed + at + k * q_width, q_width, c + j, c_stride, add || k > 0};
      multiply_all(whole, wide, {kSide, kSide, step}, o);
      multiply_all(whole, narrow, {kSide, narrow, step}, o.from(0, wide));
      multiply_all(left, wide, {left, kSide, step}, o.from(whole, 0));
      multiply_all(left, narrow, {left, narrow, step}, o.from(whole, wide));
    }
  });
}

TileScope::TileScope() { configured = {}; }
TileScope::~TileScope() { release(); }

#else

void tile_product(int64_t, int64_t, int64_t, const at::BFloat16*, int64_t, const at::BFloat16*, float*, int64_t, bool) {
  fail(ErrorKind::internal, "tiles", "this program was built for a processor without a matrix unit");
}

TileScope::TileScope() = default;
TileScope::~TileScope() = default;

#endif

}  // namespace lowrank::kernels
