#include "lowrank/kernels/tile_product.h"

#include <ATen/native/CPUBlas.h>
#include <ATen/ops/empty.h>
#include <algorithm>
#include <vector>

namespace lowrank::kernels {

namespace {

namespace blas = at::native::cpublas;

constexpr int64_t kRows = 16;  // of a tile

int64_t padded(int64_t columns) { return (columns + 15) / 16 * 16; }

/// body(first column, columns, where the panel lies in the packed numbers)
template <class Body>
void for_each_panel(int64_t depth, int64_t columns, Body&& body) {
  for (int64_t j = 0; j < columns; j += kTilePanel) body(j, std::min(kTilePanel, columns - j), j * depth);
}

}  // namespace

bool has_tiles() {
  static const bool has = blas::could_pack(at::kBFloat16);
  return has;
}

int64_t packed_size(int64_t depth, int64_t columns) { return depth * padded(columns); }

void pack_tiles(int64_t depth, int64_t columns, const at::BFloat16* q, int64_t stride, at::BFloat16* packed) {
  for_each_panel(depth, columns, [&](int64_t j, int64_t width, int64_t at) {
    blas::pack(depth, width, stride, padded(width), at::kBFloat16, at::kBFloat16, q + j, packed + at);
  });
}

at::Tensor packed_tiles(const at::Tensor& q) {
  const at::Tensor narrow = q.to(at::kBFloat16).contiguous();
  at::Tensor packed = at::empty({packed_size(q.size(0), q.size(1))}, narrow.options());
  pack_tiles(q.size(0), q.size(1), narrow.const_data_ptr<at::BFloat16>(), q.size(1), packed.mutable_data_ptr<at::BFloat16>());
  return packed;
}

void tile_product(int64_t rows, int64_t columns, int64_t depth, const at::BFloat16* p, int64_t p_stride, const at::BFloat16* packed,
                  float* c, int64_t c_stride, bool add) {
  const int64_t whole = rows / kRows * kRows, left = rows - whole;
  if (whole > 0) {
    for_each_panel(depth, columns, [&](int64_t j, int64_t width, int64_t at) {
      blas::brgemm(whole, width, depth, p_stride, padded(width), c_stride, add, p, packed + at, c + j);
    });
  }
  if (left == 0) return;
  std::vector<at::BFloat16> block(static_cast<size_t>(kRows * depth), at::BFloat16(0.0F));
  for (int64_t i = 0; i < left; ++i) std::copy_n(p + (whole + i) * p_stride, depth, block.data() + i * depth);
  float sums[kRows * kTilePanel];
  for_each_panel(depth, columns, [&](int64_t j, int64_t width, int64_t at) {
    blas::brgemm(kRows, width, depth, depth, padded(width), kTilePanel, /*add_C=*/false, block.data(), packed + at, sums);
    for (int64_t i = 0; i < left; ++i) {
      float* to = c + (whole + i) * c_stride + j;
      for (int64_t e = 0; e < width; ++e) to[e] = add ? to[e] + sums[i * kTilePanel + e] : sums[i * kTilePanel + e];
    }
  });
}

TileScope::~TileScope() { blas::brgemm_release(); }

}  // namespace lowrank::kernels
