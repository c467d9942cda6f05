#include "lowrank/kernels/lowrank_linear.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

namespace lowrank::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

at::Tensor rows_of(const at::Tensor& x) { return x.reshape({-1, x.size(-1)}); }

/// What makes W', in the dtype of the products.
struct Update {
  at::Tensor A, B, gain, mix;
  double scale;

  int64_t out_blocks() const { return mix.defined() ? mix.size(0) : 1; }
  int64_t in_blocks() const { return mix.defined() ? mix.size(1) : 1; }

  /// [N, O] or [N, I] as [N·blocks, width of a block].
  at::Tensor by_out_blocks(const at::Tensor& y) const { return y.reshape({-1, B.size(0)}); }
  at::Tensor by_in_blocks(const at::Tensor& x) const { return x.reshape({-1, A.size(1)}); }

  /// W' [O, I].
  at::Tensor apply(const at::Tensor& weight) const {
    if (mix.defined()) {
      const int64_t l = out_blocks(), k = B.size(0), m = in_blocks(), n = A.size(1);
      return at::addcmul(weight.view({l, k, m, n}), at::mm(B, A).view({1, k, 1, n}), mix.view({l, 1, m, 1}), scale).view(weight.sizes());
    }
    at::Tensor adapted = at::addmm(weight, B, A, 1, scale);
    return gain.defined() ? adapted.mul_(gain.unsqueeze(1)) : adapted;
  }
};

Update update_in(c10::ScalarType dtype, const at::Tensor& A, const at::Tensor& B, const at::Tensor& gain, const at::Tensor& mix,
                 double scale) {
  const auto cast = [&](const at::Tensor& t) { return t.defined() ? t.detach().to(dtype) : t; };
  return {cast(A), cast(B), cast(gain), cast(mix), scale};
}

/// [N·blocks, R] as [blocks, N·R].
at::Tensor block_first(const at::Tensor& h, int64_t blocks) {
  return h.view({-1, blocks, h.size(1)}).transpose(0, 1).reshape({blocks, -1});
}

/// Each row's blocks mixed by `matrix` [to, from]: [N·from, R] → [N·to, R].
at::Tensor mixed(const at::Tensor& matrix, const at::Tensor& h) {
  if (!matrix.defined()) return h;
  const at::Tensor first = at::mm(matrix, block_first(h, matrix.size(1)));
  return first.view({matrix.size(0), -1, h.size(1)}).transpose(0, 1).reshape({-1, h.size(1)});
}

/// Narrow dtypes would round the update away when it is added to W.
bool is_folded(const at::Tensor& rows, const at::Tensor& weight) {
  const int64_t out = weight.size(0), in = weight.size(1);
  const bool wide = rows.scalar_type() == at::kFloat || rows.scalar_type() == at::kDouble;
  return wide && rows.size(0) * (out + in) > 2 * out * in;
}

template <class T>
void add_column_dots(const T* a, const T* b, int64_t rows, int64_t width, T* sums) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t j = 0; j < width; ++j) sums[j] += a[row * width + j] * b[row * width + j];
  }
}

/// Σ_rows a ⊙ b [O] in one pass. Always 32 runs of rows, so that the order of the sum does not depend on the threads.
at::Tensor column_dots(const at::Tensor& a, const at::Tensor& b) {
  const auto dtype = a.scalar_type();
  if (!a.is_cpu() || (dtype != at::kFloat && dtype != at::kDouble)) return (a * b).sum(0, false, at::kFloat);
  constexpr int64_t kRuns = 32;
  const int64_t rows = a.size(0), width = a.size(1);
  const at::Tensor left = a.contiguous(), right = b.contiguous(), sums = at::zeros({kRuns, width}, a.options());
  AT_DISPATCH_FLOATING_TYPES(dtype, "column_dots", [&] {
    at::parallel_for(0, kRuns, 1, [&](int64_t first, int64_t last) {
      for (int64_t run = first; run < last; ++run) {
        const int64_t begin = rows * run / kRuns, end = rows * (run + 1) / kRuns;
        add_column_dots(left.const_data_ptr<scalar_t>() + begin * width, right.const_data_ptr<scalar_t>() + begin * width, end - begin,
                        width, sums.mutable_data_ptr<scalar_t>() + run * width);
      }
    });
  });
  return sums.sum(0);
}

// The layer's output is kept for its successor anyway, so dgain is taken from it instead of keeping x·W'ᵀ as well. A gain of
// exactly 0 is that of a row without any weight, whose gradient is 0.
at::Tensor gain_gradient(const at::Tensor& dy, const at::Tensor& y, const at::Tensor& bias, const at::Tensor& gain) {
  at::Tensor total = column_dots(dy, y);
  if (bias.defined()) total = total - bias.to(total.scalar_type()) * dy.sum(0, false, total.scalar_type());
  return at::where(gain == 0, 0, total / gain).to(gain.scalar_type());
}

struct LowRankLinear : torch::autograd::Function<LowRankLinear> {
  // libtorch wants what may be undefined as std::optional, and numbers gradients over the tensors that are there.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& A, const at::Tensor& B,
                            const at::Tensor& weight, double scale, const std::optional<at::Tensor>& maybe_bias,
                            const std::optional<at::Tensor>& maybe_gain, const std::optional<at::Tensor>& maybe_mix) {
    const at::Tensor bias = maybe_bias.value_or(at::Tensor()), gain = maybe_gain.value_or(at::Tensor()),
                     mix = maybe_mix.value_or(at::Tensor()), rows = rows_of(x);
    const Update update = update_in(x.scalar_type(), A, B, gain, mix, scale);
    at::Tensor y, h;
    if (is_folded(rows, weight)) {
      const at::Tensor adapted = update.apply(weight).t();
      y = bias.defined() ? at::addmm(bias, rows, adapted) : at::mm(rows, adapted);
    } else {
      h = at::mm(update.by_in_blocks(rows), update.A.t());
      y = bias.defined() && !gain.defined() ? at::addmm(bias, rows, weight.t()) : at::mm(rows, weight.t());
      update.by_out_blocks(y).addmm_(mixed(update.mix, h), update.B.t(), 1, scale);
      if (gain.defined()) y.mul_(update.gain);
      if (gain.defined() && bias.defined()) y.add_(bias);
    }
    auto shape = x.sizes().vec();
    shape.back() = weight.size(0);
    y = y.view(shape);
    ctx->saved_data["scale"] = scale;
    ctx->save_for_backward({x, weight, bias, A, B, gain, mix, h, gain.defined() ? y : at::Tensor()});
    return y;
  }

  static tensor_list backward(AutogradContext* ctx, tensor_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &bias = saved[2], &A = saved[3], &B = saved[4], &gain = saved[5],
                     &mix = saved[6], &y = saved[8];
    const double scale = ctx->saved_data["scale"].toDouble();
    const Update update = update_in(x.scalar_type(), A, B, gain, mix, scale);
    const at::Tensor dy = rows_of(grads[0]).contiguous(), rows = rows_of(x), dy_blocks = update.by_out_blocks(dy),
                     x_blocks = update.by_in_blocks(rows), h = saved[7].defined() ? saved[7] : at::mm(x_blocks, update.A.t());
    const at::Tensor b = gain.defined() ? update.B * update.gain.unsqueeze(1) : update.B;
    const at::Tensor g = at::mm(dy_blocks, b).mul_(scale), g_mixed = mixed(mix.defined() ? update.mix.t() : mix, g);
    const size_t bias_edge = 4, gain_edge = bias_edge + (bias.defined() ? 1 : 0), mix_edge = gain_edge + (gain.defined() ? 1 : 0);
    at::Tensor dx, dA, dB, dgain, dmix, dbias;
    if (ctx->needs_input_grad(0)) {
      if (is_folded(rows, weight)) {
        dx = at::mm(dy, update.apply(weight));
      } else {
        dx = at::mm(gain.defined() ? dy * update.gain : dy, weight);
        update.by_in_blocks(dx).addmm_(g_mixed, update.A);
      }
      dx = dx.view(x.sizes());
    }
    if (bias.defined() && ctx->needs_input_grad(bias_edge)) dbias = dy.sum(0);
    if (ctx->needs_input_grad(1)) dA = at::mm(g_mixed.t(), x_blocks).to(A.scalar_type());
    if (ctx->needs_input_grad(2)) {
      dB = at::mm(dy_blocks.t(), mixed(update.mix, h)).mul_(scale);
      dB = (gain.defined() ? dB.mul_(update.gain.unsqueeze(1)) : dB).to(B.scalar_type());
    }
    if (gain.defined() && ctx->needs_input_grad(gain_edge)) dgain = gain_gradient(dy, rows_of(y), bias, gain);
    if (mix.defined() && ctx->needs_input_grad(mix_edge)) {
      dmix = at::mm(block_first(g, mix.size(0)), block_first(h, mix.size(1)).t()).to(mix.scalar_type());
    }
    return {dx, dA, dB, at::Tensor(), at::Tensor(), dbias, dgain, dmix};
  }
};

}  // namespace

at::Tensor lowrank_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& A,
                          const at::Tensor& B, double scale, const at::Tensor& gain, const at::Tensor& mix) {
  const auto maybe = [](const at::Tensor& t) { return t.defined() ? std::optional(t) : std::nullopt; };
  return LowRankLinear::apply(x, A, B, weight, scale, maybe(bias), maybe(gain), maybe(mix));
}

}  // namespace lowrank::kernels
