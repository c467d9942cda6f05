#include "lowrank/nn/linear.h"

#include <ATen/ops/linear.h>

#include "lowrank/kernels/adapted_rows.h"
#include "lowrank/kernels/blocks.h"
#include "lowrank/kernels/lowrank_linear.h"
#include "lowrank/nn/new_weights.h"

namespace lowrank::nn {

namespace {

at::Tensor in_dtype_of(const at::Tensor& x, const at::Tensor& m) { return m.defined() ? m.to(x.scalar_type()) : m; }

}  // namespace

Linear::Linear(int64_t in, int64_t out, bool with_bias) { own(new_weight({out, in}), with_bias ? new_weight({out}) : at::Tensor()); }

HostShape Linear::shape() const { return {.kind = "linear", .out = weight().size(0), .in = weight().size(1)}; }

at::Tensor Linear::multiply(const at::Tensor& x, const at::Tensor& m, const at::Tensor& bias) const {
  return at::linear(x, m, bias.defined() ? std::optional(bias) : std::nullopt);
}

at::Tensor Linear::project(const at::Tensor& x, const at::Tensor& m, int64_t blocks) const {
  const at::Tensor same = in_dtype_of(x, m);
  return blocks == 0 ? at::linear(x, same) : kernels::project_blocks(x, same, blocks);
}

at::Tensor Linear::add_expanded(const at::Tensor& y0, const at::Tensor& h, const at::Tensor& m, double scale, int64_t blocks) const {
  return kernels::add_expanded_blocks(y0, blocks == 0 ? h.unsqueeze(0) : h, in_dtype_of(y0, m), scale);
}

std::optional<at::Tensor> Linear::fused(const at::Tensor& x, const LowRankForm& form, const at::Tensor& product) const {
  if (weight().requires_grad()) return std::nullopt;
  return kernels::lowrank_linear(x, weight(), bias(), form.A, form.B, form.scale, form.gain, form.mix, product);
}

std::optional<Host::ProductAndProjection> Linear::multiply_and_project(const at::Tensor& x, const at::Tensor& A) const {
  if (weight().requires_grad()) return std::nullopt;
  const auto both = kernels::frozen_rows_and_projection(x.detach().reshape({-1, x.size(-1)}).contiguous(), weight(), A);
  if (!both) return std::nullopt;
  return ProductAndProjection{both->product, both->projected};
}

}  // namespace lowrank::nn
