#include "lowrank/kernels/frozen_product.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

namespace lowrank::kernels {

namespace {

constexpr int64_t kRowMultiple = 32;

at::Tensor with_more_rows(const at::Tensor& x, int64_t rows) {
  at::Tensor padded = at::empty({rows, x.size(1)}, x.options());
  padded.slice(0, 0, x.size(0)).copy_(x);
  padded.slice(0, x.size(0), rows).zero_();
  return padded;
}

}  // namespace

at::Tensor frozen_product(const at::Tensor& x, const at::Tensor& matrix, const at::Tensor& bias) {
  const auto product = [&](const at::Tensor& rows) { return bias.defined() ? at::addmm(bias, rows, matrix) : at::mm(rows, matrix); };
  const int64_t rows = x.size(0), rounded = (rows + kRowMultiple - 1) / kRowMultiple * kRowMultiple;
  if (!x.is_cpu() || x.scalar_type() != at::kBFloat16 || rows == rounded) return product(x);
  return product(with_more_rows(x, rounded)).slice(0, 0, rows);
}

}  // namespace lowrank::kernels
