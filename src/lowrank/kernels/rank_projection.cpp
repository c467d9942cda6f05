#include "lowrank/kernels/rank_projection.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <vector>

#include "lowrank/kernels/narrow_product.h"
#include "lowrank/kernels/tile_product.h"
#include "lowrank/tensor/parallel.h"

namespace lowrank::kernels {

namespace {

constexpr int64_t kBlockRows = 48, kTileRows = 64;

template <class T>
at::Tensor project(const at::Tensor& x, const at::Tensor& A) {
  const int64_t rows = x.size(0), depth = x.size(1), rank = A.size(0), columns = padded_columns<T>(rank);
  const at::Tensor right = with_columns(A.t(), columns), left = x.contiguous(), h = at::empty({rows, columns}, x.options());
  const T *p = left.const_data_ptr<T>(), *q = right.const_data_ptr<T>();
  T* to = h.mutable_data_ptr<T>();
  tensor::parallel_for(0, rows, kBlockRows, [&](int64_t begin, int64_t end) {
    narrow_product(end - begin, columns, depth, Strided<T>{p + begin * depth, depth, 1}, Rows<const T>{q, columns},
                   Rows<T>{to + begin * columns, columns}, Rows<const T>{});
  });
  return columns == rank ? h : h.slice(1, 0, rank).contiguous();
}

}  // namespace

at::Tensor with_columns(const at::Tensor& matrix, int64_t columns) {
  if (matrix.size(1) == columns && matrix.is_contiguous()) return matrix;
  const at::Tensor wider = at::zeros({matrix.size(0), columns}, matrix.options());
  wider.slice(1, 0, matrix.size(1)).copy_(matrix);
  return wider;
}

at::Tensor rank_projection(const at::Tensor& x, const at::Tensor& A) {
  const auto dtype = x.scalar_type();
  if (!x.is_cpu() || (dtype != at::kFloat && dtype != at::kDouble)) return at::mm(x, A.t());
  return AT_DISPATCH_FLOATING_TYPES(dtype, "rank_projection", [&] { return project<scalar_t>(x, A); });
}

at::Tensor wide_projection(const at::Tensor& weight, const at::Tensor& A) {
  const bool split =
      weight.is_cpu() && weight.scalar_type() == at::kBFloat16 && A.scalar_type() == at::kFloat && has_tiles() && weight.size(1) % 2 == 0;
  if (!split) return rank_projection(weight.to(A.scalar_type()), A);
  std::vector<at::Tensor> parts;
  at::Tensor rest = A.detach();
  for (int part = 0; part < 3; ++part) {
    parts.push_back(rest.to(at::kBFloat16));
    rest = rest - parts.back();
  }
  const int64_t rows = weight.size(0), depth = weight.size(1), columns = 3 * A.size(0);
  const at::Tensor packed = packed_tiles(at::cat(parts).t()), w = weight.contiguous(), sums = at::empty({rows, columns}, A.options());
  const auto* p = w.const_data_ptr<at::BFloat16>();
  float* to = sums.mutable_data_ptr<float>();
  tensor::parallel_for(0, rows, kTileRows, [&](int64_t begin, int64_t end) {
    const TileScope scope;
    tile_product(end - begin, columns, depth, p + begin * depth, depth, packed.const_data_ptr<at::BFloat16>(), to + begin * columns,
                 columns,
                 /*add=*/false);
  });
  return sums.view({rows, 3, A.size(0)}).sum(1);
}

}  // namespace lowrank::kernels
