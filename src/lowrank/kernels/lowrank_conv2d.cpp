#include "lowrank/kernels/lowrank_conv2d.h"

#include <ATen/ops/bmm.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/where.h>
#include <torch/csrc/autograd/custom_function.h>

#include "lowrank/kernels/channels.h"
#include "lowrank/kernels/lowrank_conv2d_rows.h"
#include "lowrank/kernels/plain_conv2d.h"

namespace lowrank::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

/// The adapter in x's dtype, and its blocks.
struct Update {
  at::Tensor taps, B, gain, mix;  // taps [taps·R, n]
  double scale;
  ConvGeometry geometry;

  int64_t rank() const { return B.size(1); }
  int64_t out_blocks() const { return mix.defined() ? mix.size(0) : 1; }

  /// [N, C, ..] as one matrix a block: [N·blocks, channels of a block, pixels].
  at::Tensor by_out(const at::Tensor& y) const { return y.view({-1, B.size(0), y.size(2) * y.size(3)}); }
  at::Tensor by_in(const at::Tensor& x) const { return x.view({-1, taps.size(1), x.size(2) * x.size(3)}); }
  /// Blocks of h [N·from, R, pixels] mixed by `matrix` [to, from], undefined for the identity.
  at::Tensor mixed(const at::Tensor& matrix, const at::Tensor& h) const {
    if (!matrix.defined()) return h;
    return at::matmul(matrix, h.reshape({-1, matrix.size(1), h.size(1) * h.size(2)})).view({-1, h.size(1), h.size(2)});
  }
};

Update update_in(c10::ScalarType dtype, const at::Tensor& A, const at::Tensor& B, const at::Tensor& gain, const at::Tensor& mix,
                 double scale, const ConvGeometry& geometry) {
  const auto cast = [&](const at::Tensor& t) { return t.defined() ? t.detach().to(dtype) : t; };
  return {by_taps(cast(A), geometry.taps()), cast(B), cast(gain), cast(mix), scale, geometry};
}

/// left·right[i] for each i.
at::Tensor shared_product(const at::Tensor& left, const at::Tensor& right) {
  return at::bmm(left.unsqueeze(0).expand({right.size(0), -1, -1}), right);
}

/// y[i] += scale·left·right[i].
void add_shared_product(const at::Tensor& y, const at::Tensor& left, const at::Tensor& right, double scale) {
  at::Tensor target = y;
  target.baddbmm_(left.unsqueeze(0).expand({right.size(0), -1, -1}), right, 1, scale);
}

/// Σ_i left[i]·right[i]ᵀ.
at::Tensor summed_product(const at::Tensor& left, const at::Tensor& right) {
  const at::Tensor each = at::bmm(left, right.transpose(1, 2));
  return each.size(0) == 1 ? each[0] : each.sum(0);
}

/// Σ dy ⊙ (y − bias)/gain by channels, 0 where gain is 0.
at::Tensor gain_gradient(const at::Tensor& dy, const at::Tensor& y, const at::Tensor& bias, const at::Tensor& gain) {
  at::Tensor sum = channel_dots(dy, y);
  if (bias.defined()) sum.sub_(bias * channel_sums(dy));
  return at::where(gain == 0, 0, sum / gain);
}

struct LowRankConv2d : torch::autograd::Function<LowRankConv2d> {
  // libtorch wants what may be undefined as std::optional, and numbers gradients over the tensors that are there.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& A, const at::Tensor& B,
                            const at::Tensor& weight, double scale, const std::vector<int64_t>& numbers,
                            const std::optional<at::Tensor>& maybe_bias, const std::optional<at::Tensor>& maybe_gain,
                            const std::optional<at::Tensor>& maybe_mix) {
    const at::Tensor bias = maybe_bias.value_or(at::Tensor()), gain = maybe_gain.value_or(at::Tensor()),
                     mix = maybe_mix.value_or(at::Tensor()), x = input.contiguous();
    const ConvGeometry c = geometry_of(numbers);
    const Update update = update_in(x.scalar_type(), A, B, gain, mix, scale, c);
    const at::Tensor pixels = update.by_in(x);
    const at::Tensor h = gather_taps(shared_product(update.taps, pixels).view({pixels.size(0), -1, x.size(2), x.size(3)}), c).flatten(2);
    at::Tensor y = at::conv2d(x, weight, gain.defined() ? std::nullopt : maybe_bias, c.stride, c.padding, c.dilation).contiguous();
    const at::Tensor mixed = update.mixed(update.mix, h);
    add_shared_product(update.by_out(y), update.B, mixed, scale);
    if (gain.defined()) scale_channels(y, y, gain, bias);
    ctx->saved_data["scale"] = scale;
    ctx->saved_data["numbers"] = numbers;
    ctx->save_for_backward({x, weight, bias, A, B, gain, mix, h, mixed, gain.defined() ? y : at::Tensor()});
    return y;
  }

  static tensor_list backward(AutogradContext* ctx, tensor_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &bias = saved[2], &A = saved[3], &B = saved[4], &gain = saved[5], &mix = saved[6],
                     &h = saved[7], &mixed = saved[8], &y = saved[9];
    const double scale = ctx->saved_data["scale"].toDouble();
    const ConvGeometry c = geometry_of(ctx->saved_data["numbers"].toIntVector());
    const Update update = update_in(x.scalar_type(), A, B, gain, mix, scale, c);
    const at::Tensor dy = grads[0].contiguous(), scaled = gain.defined() ? at::empty_like(dy) : dy;
    if (gain.defined()) scale_channels(scaled, dy, gain, {});
    const at::Tensor by_out = update.by_out(scaled), own = shared_product(update.B.t(), by_out).mul_(scale),
                     g = update.mixed(mix.defined() ? update.mix.t() : mix, own);
    const at::Tensor dtaps = scatter_taps(g.view({-1, update.rank(), dy.size(2), dy.size(3)}), c, {x.size(2), x.size(3)}).flatten(2);
    const at::Tensor dA = from_taps(summed_product(dtaps, update.by_in(x)), c.taps()), dB = summed_product(by_out, mixed).mul_(scale);
    at::Tensor dmix, dgain, dbias, dx;
    if (mix.defined()) {
      const auto blocks = [](const at::Tensor& t, int64_t count) { return t.reshape({-1, count, t.size(1) * t.size(2)}); };
      dmix = summed_product(blocks(own, mix.size(0)), blocks(h, mix.size(1)));
    }
    const size_t bias_edge = 4, gain_edge = bias_edge + (bias.defined() ? 1 : 0);
    if (gain.defined() && ctx->needs_input_grad(gain_edge)) dgain = gain_gradient(dy, y, bias, gain);
    if (bias.defined() && ctx->needs_input_grad(bias_edge)) dbias = channel_sums(dy).to(bias.scalar_type());
    if (ctx->needs_input_grad(0)) {
      dx = std::get<0>(at::convolution_backward(scaled, x, weight, std::nullopt, c.stride, c.padding, c.dilation, /*transposed=*/false,
                                                /*output_padding=*/at::IntArrayRef({0, 0}), /*groups=*/1, {true, false, false}))
               .contiguous();
      add_shared_product(update.by_in(dx), update.taps.t(), dtaps, 1);
    }
    const auto as = [](const at::Tensor& gradient, const at::Tensor& like) {
      return gradient.defined() ? gradient.to(like.scalar_type()).contiguous() : gradient;
    };
    return {dx, as(dA, A), as(dB, B), at::Tensor(), at::Tensor(), at::Tensor(), dbias, as(dgain, gain), as(dmix, mix)};
  }
};

}  // namespace

at::Tensor lowrank_conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const ConvGeometry& geometry,
                          const at::Tensor& A, const at::Tensor& B, double scale, const at::Tensor& gain, const at::Tensor& mix,
                          const at::Tensor& frozen) {
  const LowRankUpdate update{A, B, gain, mix, scale};
  if (!x.is_cpu()) return plain_lowrank_conv2d(x, weight, bias, geometry, update);
  if (has_rows_conv2d(x, update, geometry)) return rows_conv2d(x, weight, bias, geometry, update, frozen);
  const auto maybe = [](const at::Tensor& t) { return t.defined() ? std::optional(t) : std::nullopt; };
  return LowRankConv2d::apply(x, A, B, weight, scale, numbers_of(geometry), maybe(bias), maybe(gain), maybe(mix));
}

}  // namespace lowrank::kernels
