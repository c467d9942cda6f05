#include "lowrank/kernels/lowrank_conv2d_rows.h"

#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/eye.h>
#include <torch/csrc/autograd/custom_function.h>

#include "lowrank/kernels/frozen_conv2d.h"
#include "lowrank/kernels/lowrank_apply_cpu.h"
#include "lowrank/kernels/lowrank_gradients_cpu.h"
#include "lowrank/kernels/rank_arithmetic.h"
#include "lowrank/kernels/rounding.h"
#include "lowrank/tensor/parallel.h"

namespace lowrank::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

constexpr auto kLast = at::MemoryFormat::ChannelsLast;

/// Pixels of channels-last pictures as rows [N·H·W, C].
at::Tensor rows_of(const at::Tensor& pictures) { return pictures.permute({0, 2, 3, 1}).reshape({-1, pictures.size(1)}); }

at::Tensor detached(const at::Tensor& t) { return t.defined() ? t.detach() : t; }

/// The update with A by taps, [taps·R, n].
LowRankUpdate with_taps(const LowRankUpdate& update, int64_t taps) {
  LowRankUpdate result = update;
  result.A = by_taps(update.A, taps);
  return result;
}

/// gain ⊙ dy by channels, channels last.
at::Tensor gained(const at::Tensor& dy, const at::Tensor& gain) {
  const at::Tensor result = at::empty_like(dy), factors = gain.detach().to(at::kFloat).contiguous();
  const int64_t channels = dy.size(1), rows = dy.numel() / channels;
  const auto* from = dy.const_data_ptr<at::BFloat16>();
  auto* to = result.mutable_data_ptr<at::BFloat16>();
  tensor::parallel_for(0, rows, 64, [&](int64_t begin, int64_t end) {
    scale_columns(end - begin, channels, from + begin * channels, factors.const_data_ptr<float>(), to + begin * channels);
  });
  return result;
}

struct RowsConv2d : torch::autograd::Function<RowsConv2d> {
  // libtorch wants what may be undefined as std::optional, and numbers gradients over the tensors that are there.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& A, const at::Tensor& B,
                            const at::Tensor& weight, double scale, const std::vector<int64_t>& numbers,
                            const std::optional<at::Tensor>& maybe_bias, const std::optional<at::Tensor>& maybe_gain,
                            const std::optional<at::Tensor>& maybe_mix, const std::optional<at::Tensor>& frozen) {
    const at::Tensor bias = maybe_bias.value_or(at::Tensor()), gain = maybe_gain.value_or(at::Tensor()),
                     mix = maybe_mix.value_or(at::Tensor()), x = input.contiguous(kLast);
    const ConvGeometry c = geometry_of(numbers);
    const LowRankUpdate update{detached(A), detached(B), detached(gain), detached(mix), scale};
    const int64_t rank = B.size(1), columns = TileArithmetic::columns(rank), m = mix.defined() ? mix.size(1) : 1;
    const at::Tensor taps = by_taps(update.A, c.taps());
    at::Tensor h = cpu_project(rows_of(x).view({-1, taps.size(1)}), taps);
    if (!c.is_pointwise()) h = gather_tap_rows(h, c, {x.size(2), x.size(3)}, m, rank, columns);
    const bool bias_first = bias.defined() && mix.defined();  // or else the kernel adds it, at no cost, as it writes y
    const at::Tensor y =
        frozen ? frozen->detach() : frozen_conv2d(x, weight.detach(), bias_first ? bias.detach() : at::Tensor(), c).contiguous(kLast);
    cpu_apply_projected_(rows_of(y), h, update, bias_first ? at::Tensor() : detached(bias));
    ctx->saved_data["scale"] = scale;
    ctx->saved_data["numbers"] = numbers;
    ctx->save_for_backward(
        {x, weight, bias, A, B, gain, mix, h.slice(1, 0, rank).to(x.scalar_type()).contiguous(), gain.defined() ? y : at::Tensor()});
    return y;
  }

  static tensor_list backward(AutogradContext* ctx, tensor_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &bias = saved[2], &A = saved[3], &B = saved[4], &gain = saved[5], &mix = saved[6],
                     &h = saved[7], &y = saved[8];
    const ConvGeometry c = geometry_of(ctx->saved_data["numbers"].toIntVector());
    const int64_t rank = B.size(1), m = mix.defined() ? mix.size(1) : 1, columns = c.taps() * rank;
    const at::Tensor dy = grads[0].contiguous(kLast);
    // What lies between rank space and the output is a linear layer whose input is rank space itself.
    const LowRankUpdate after{at::eye(rank, B.options()), B, gain, mix, ctx->saved_data["scale"].toDouble()};
    const size_t bias_edge = 4, gain_edge = bias_edge + (bias.defined() ? 1 : 0);
    const LowRankGradients own =
        lowrank_gradients(after, {.x = h.view({-1, m * rank}),
                                  .dy = rows_of(dy),
                                  .h = {},
                                  .y = gain.defined() && ctx->needs_input_grad(gain_edge) ? rows_of(y) : at::Tensor(),
                                  .bias = bias,
                                  .dbias = bias.defined() && ctx->needs_input_grad(bias_edge),
                                  .g = true});
    const at::Tensor g = c.is_pointwise() ? own.g : scatter_tap_rows(own.g, c, {x.size(2), x.size(3)}, m), taps = by_taps(A, c.taps());
    const at::Tensor wide = at::constant_pad_nd(g.to(at::kFloat), {0, TileArithmetic::columns(columns) - columns}),
                     dA = from_taps(cpu_outer_sum(rows_of(x).view({-1, taps.size(1)}), wide).slice(0, 0, columns), c.taps());
    at::Tensor dx;
    if (ctx->needs_input_grad(0)) {
      dx = frozen_conv2d_input_gradient(gain.defined() ? gained(dy, gain) : dy, x, weight, c).contiguous(kLast);
      cpu_add_input_gradient_(rows_of(dx), g, {.A = taps, .B = B, .gain = {}, .mix = mix, .scale = 1});
    }
    const auto as = [](const at::Tensor& gradient, const at::Tensor& like) {
      return gradient.defined() ? gradient.to(like.scalar_type()).contiguous() : gradient;
    };
    return {dx,           as(dA, A), as(own.dB, B),       at::Tensor(),      at::Tensor(),
            at::Tensor(), own.dbias, as(own.dgain, gain), as(own.dmix, mix), at::Tensor()};
  }
};

}  // namespace

bool has_rows_conv2d(const at::Tensor& x, const LowRankUpdate& update, const ConvGeometry& geometry) {
  return has_cpu_apply(with_taps(update, geometry.taps()), x) && update.B.size(1) % 2 == 0 && x.numel() > 0;
}

at::Tensor rows_conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const ConvGeometry& geometry,
                       const LowRankUpdate& update, const at::Tensor& frozen) {
  const auto maybe = [](const at::Tensor& t) { return t.defined() ? std::optional(t) : std::nullopt; };
  return RowsConv2d::apply(x, update.A, update.B, weight, update.scale, numbers_of(geometry), maybe(bias), maybe(update.gain),
                           maybe(update.mix), maybe(update.mix.defined() ? at::Tensor() : frozen));
}

}  // namespace lowrank::kernels
