#include "lowrank/kernels/lowrank_linear.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/where.h>
#include <torch/csrc/autograd/custom_function.h>

namespace lowrank::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

at::Tensor rows_of(const at::Tensor& x) { return x.reshape({-1, x.size(-1)}); }

// The layer's output is kept for its successor anyway, so dgain is taken from it instead of keeping x·W'ᵀ as well. A gain of
// exactly 0 is that of a row without any weight, whose gradient is 0.
at::Tensor gain_gradient(const at::Tensor& dy, const at::Tensor& y, const at::Tensor& bias, const at::Tensor& gain) {
  at::Tensor total = (dy * y).sum(0, false, at::kFloat);
  if (bias.defined()) total = total - bias.to(at::kFloat) * dy.sum(0, false, at::kFloat);
  return at::where(gain == 0, 0, total / gain.to(at::kFloat));
}

struct LowRankLinear : torch::autograd::Function<LowRankLinear> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            const at::Tensor& A, const at::Tensor& B, double scale, const at::Tensor& gain) {
    const auto dtype = x.scalar_type();
    const at::Tensor rows = rows_of(x), a = A.to(dtype), b = B.to(dtype);
    const at::Tensor h = at::mm(rows, a.t());
    at::Tensor y = !gain.defined() && bias.defined() ? at::addmm(bias, rows, weight.t()) : at::mm(rows, weight.t());
    y.addmm_(h, b.t(), 1, scale);
    if (gain.defined()) {
      y.mul_(gain.to(dtype));
      if (bias.defined()) y.add_(bias);
    }
    auto shape = x.sizes().vec();
    shape.back() = weight.size(0);
    y = y.view(shape);
    ctx->saved_data["scale"] = scale;
    ctx->save_for_backward({x, weight, bias, A, B, h, gain, gain.defined() ? y : at::Tensor()});
    return y;
  }

  static tensor_list backward(AutogradContext* ctx, tensor_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &bias = saved[2], &A = saved[3], &B = saved[4], &h = saved[5],
                     &gain = saved[6], &y = saved[7];
    const double scale = ctx->saved_data["scale"].toDouble();
    const auto dtype = x.scalar_type();
    const at::Tensor dy = rows_of(grads[0]), rows = rows_of(x);
    const at::Tensor d = gain.defined() ? dy * gain.to(dtype) : dy;
    const at::Tensor g = at::mm(d, B.to(dtype)).mul_(scale);  // [N, R]
    at::Tensor dx, dA, dB, dgain, dbias;
    if (ctx->needs_input_grad(0)) {
      dx = at::mm(d, weight);
      dx = dx.addmm_(g, A.to(dtype)).view(x.sizes());
    }
    if (bias.defined() && ctx->needs_input_grad(2)) dbias = dy.sum(0);
    if (ctx->needs_input_grad(3)) dA = at::mm(g.t(), rows).to(A.scalar_type());
    if (ctx->needs_input_grad(4)) dB = at::mm(d.t(), h).mul_(scale).to(B.scalar_type());
    if (gain.defined() && ctx->needs_input_grad(5)) dgain = gain_gradient(dy, rows_of(y), bias, gain).to(gain.scalar_type());
    return {dx, at::Tensor(), dbias, dA, dB, at::Tensor(), dgain};
  }
};

}  // namespace

at::Tensor lowrank_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& A,
                          const at::Tensor& B, double scale, const at::Tensor& gain) {
  return LowRankLinear::apply(x, weight, bias, A, B, scale, gain);
}

}  // namespace lowrank::kernels
