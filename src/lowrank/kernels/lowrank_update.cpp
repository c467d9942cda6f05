#include "lowrank/kernels/lowrank_update.h"

#include <ATen/ops/addcmul.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mul.h>

namespace lowrank::kernels {

at::Tensor LowRankUpdate::apply(const at::Tensor& weight) const {
  if (mix.defined()) {
    const int64_t l = out_blocks(), k = B.size(0), m = in_blocks(), n = A.size(1);
    return at::addcmul(weight.view({l, k, m, n}), at::mm(B, A).view({1, k, 1, n}), mix.view({l, 1, m, 1}), scale).view(weight.sizes());
  }
  at::Tensor adapted = at::addmm(weight, B, A, 1, scale);
  return gain.defined() ? adapted.mul_(gain.unsqueeze(1)) : adapted;
}

at::Tensor scaled(const at::Tensor& x, const at::Tensor& gain) {
  at::Tensor result = at::empty_like(x);
  return at::mul_out(result, x, gain);
}

at::Tensor block_first(const at::Tensor& h, int64_t blocks) {
  return h.view({-1, blocks, h.size(1)}).transpose(0, 1).reshape({blocks, -1});
}

at::Tensor mix_blocks(const at::Tensor& matrix, const at::Tensor& h) {
  if (!matrix.defined()) return h;
  const at::Tensor first = at::mm(matrix, block_first(h, matrix.size(1)));
  return first.view({matrix.size(0), -1, h.size(1)}).transpose(0, 1).reshape({-1, h.size(1)});
}

}  // namespace lowrank::kernels
