#include "lowrank/kernels/rank_projection.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include "lowrank/kernels/narrow_product.h"
#include "lowrank/tensor/parallel.h"

namespace lowrank::kernels {

namespace {

constexpr int64_t kBlockRows = 48;

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

}  // namespace lowrank::kernels
