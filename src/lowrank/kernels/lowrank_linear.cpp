#include "lowrank/kernels/lowrank_linear.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/mm.h>
#include <torch/csrc/autograd/custom_function.h>

#include "lowrank/kernels/adapted_rows.h"
#include "lowrank/kernels/frozen_product.h"
#include "lowrank/kernels/lowrank_apply_cpu.h"
#include "lowrank/kernels/lowrank_gradients.h"
#include "lowrank/kernels/rank_projection.h"

namespace lowrank::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

at::Tensor rows_of(const at::Tensor& x) { return x.reshape({-1, x.size(-1)}); }

/// The update as the kernels for `rows` take it: as it is, or in the rows' dtype for the library's products (but for the gain, which is
/// near 1 and would be rounded to it).
LowRankUpdate update_for(const at::Tensor& rows, const at::Tensor& A, const at::Tensor& B, const at::Tensor& gain, const at::Tensor& mix,
                         double scale) {
  const auto detached = [](const at::Tensor& t) { return t.defined() ? t.detach() : t; };
  const LowRankUpdate update{detached(A), detached(B), detached(gain), detached(mix), scale};
  if (has_adapted_rows(update, rows)) return update;
  const auto cast = [&](const at::Tensor& t) { return t.defined() ? t.to(rows.scalar_type()) : t; };
  return {cast(update.A), cast(update.B), update.gain, cast(update.mix), scale};
}

/// Narrow dtypes would round the update away when it is added to W.
bool is_folded(const at::Tensor& rows, const at::Tensor& weight) {
  const int64_t out = weight.size(0), in = weight.size(1);
  const bool wide = rows.scalar_type() == at::kFloat || rows.scalar_type() == at::kDouble;
  return wide && rows.size(0) * (out + in) > 2 * out * in;
}

/// (gain ⊙ dy)·W, the gain multiplied into the smaller of the two.
at::Tensor frozen_input_gradient(const at::Tensor& dy, const at::Tensor& weight, const at::Tensor& gain) {
  if (!gain.defined()) return frozen_product(dy, weight);
  return weight.size(1) < dy.size(0) ? frozen_product(dy, scaled(weight, gain.unsqueeze(1))) : frozen_product(scaled(dy, gain), weight);
}

struct LowRankLinear : torch::autograd::Function<LowRankLinear> {
  // libtorch wants what may be undefined as std::optional, and numbers gradients over the tensors that are there.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& A, const at::Tensor& B, const at::Tensor& weight,
                            double scale, const std::optional<at::Tensor>& maybe_bias, const std::optional<at::Tensor>& maybe_gain,
                            const std::optional<at::Tensor>& maybe_mix, const std::optional<at::Tensor>& frozen) {
    const at::Tensor bias = maybe_bias.value_or(at::Tensor()), gain = maybe_gain.value_or(at::Tensor()),
                     mix = maybe_mix.value_or(at::Tensor()), rows = rows_of(x);
    const LowRankUpdate update = update_for(rows, A, B, gain, mix, scale);
    at::Tensor y, h;
    if (frozen) {
      y = rows_of(*frozen).detach();
      cpu_apply_projected_(y, cpu_project(rows.contiguous(), update.A), update, bias);
    } else if (is_folded(rows, weight)) {
      const at::Tensor adapted = update.apply(weight).t();
      y = bias.defined() ? at::addmm(bias, rows, adapted) : at::mm(rows, adapted);
    } else if (has_adapted_rows(update, rows)) {
      y = adapted_rows(rows.contiguous(), weight.contiguous(), update, bias);
    } else {
      h = rank_projection(update.by_in_blocks(rows), update.A);
      y = frozen_product(rows, weight.t(), gain.defined() ? at::Tensor() : bias);
      update.by_out_blocks(y).addmm_(mix_blocks(update.mix, h), update.B.t(), 1, scale);
      if (gain.defined()) y.mul_(update.gain);
      if (gain.defined() && bias.defined()) y.add_(bias);
    }
    auto shape = x.sizes().vec();
    shape.back() = weight.size(0);
    y = y.view(shape);
    ctx->saved_data["scale"] = scale;
    ctx->saved_data["wide"] = A.scalar_type();
    // The adapter as it was cast, which is not done again.
    ctx->save_for_backward({x, weight, bias, update.A, update.B, gain, update.mix, h, gain.defined() ? y : at::Tensor()});
    return y;
  }

  static tensor_list backward(AutogradContext* ctx, tensor_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &bias = saved[2], &A = saved[3], &B = saved[4], &gain = saved[5], &mix = saved[6],
                     &h = saved[7], &y = saved[8];
    const double scale = ctx->saved_data["scale"].toDouble();
    const at::Tensor dy = rows_of(grads[0]).contiguous(), rows = rows_of(x).contiguous();
    const LowRankUpdate update = {A, B, gain, mix, scale};
    const size_t bias_edge = 4, gain_edge = bias_edge + (bias.defined() ? 1 : 0);
    const bool of_gain = gain.defined() && ctx->needs_input_grad(gain_edge);
    const bool folded = is_folded(rows, weight), whole = ctx->needs_input_grad(0) && has_adapted_rows(update, dy);
    const LowRankGradients own = lowrank_gradients(update, {.x = rows,
                                                            .dy = dy,
                                                            .h = h,
                                                            .y = of_gain ? rows_of(y) : at::Tensor(),
                                                            .bias = bias,
                                                            .dbias = bias.defined() && ctx->needs_input_grad(bias_edge),
                                                            .g = !folded && !whole && ctx->needs_input_grad(0),
                                                            .weight = whole ? weight.contiguous() : at::Tensor()});
    at::Tensor dx = own.dx;
    if (ctx->needs_input_grad(0)) {
      if (folded) {
        dx = at::mm(dy, update.apply(weight));
      } else if (!whole) {
        dx = frozen_input_gradient(dy, weight, update.gain);
        update.by_in_blocks(dx).addmm_(own.g, update.A);
      }
      dx = dx.view(x.sizes());
    }
    const auto as_parameter = [wide = ctx->saved_data["wide"].toScalarType()](const at::Tensor& gradient) {
      return gradient.defined() ? gradient.to(wide).contiguous() : gradient;
    };
    return {dx,
            as_parameter(own.dA),
            as_parameter(own.dB),
            at::Tensor(),
            at::Tensor(),
            own.dbias,
            own.dgain.defined() ? own.dgain.to(gain.scalar_type()).contiguous() : own.dgain,
            as_parameter(own.dmix),
            at::Tensor()};
  }
};

}  // namespace

at::Tensor lowrank_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& A, const at::Tensor& B,
                          double scale, const at::Tensor& gain, const at::Tensor& mix, const at::Tensor& frozen) {
  const auto maybe = [](const at::Tensor& t) { return t.defined() ? std::optional(t) : std::nullopt; };
  return LowRankLinear::apply(x, A, B, weight, scale, maybe(bias), maybe(gain), maybe(mix), maybe(frozen));
}

}  // namespace lowrank::kernels
