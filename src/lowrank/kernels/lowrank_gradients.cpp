#include "lowrank/kernels/lowrank_gradients.h"

#include <ATen/ops/mm.h>
#include <ATen/ops/where.h>

#include "lowrank/kernels/lowrank_gradients_cpu.h"

namespace lowrank::kernels {

namespace {

/// a·b, of narrow numbers in float32 where the device gives its sums as they are: without a pass for each gradient of its own.
at::Tensor gradient_product(const at::Tensor& a, const at::Tensor& b) {
  const bool narrow = a.scalar_type() == at::kBFloat16 || a.scalar_type() == at::kHalf;
  return narrow && a.is_cuda() ? at::mm(a, b, at::kFloat) : at::mm(a, b);
}

at::Tensor times(at::Tensor x, double scale) { return scale == 1 ? x : x.mul_(scale); }

}  // namespace

LowRankGradients plain_lowrank_gradients(const LowRankUpdate& update, const GradientRequest& request) {
  const auto& [A, B, gain, mix, scale] = update;
  const at::Tensor dy = update.by_out_blocks(request.dy), x = update.by_in_blocks(request.x),
                   h = request.h.defined() ? request.h : at::mm(x, A.t());
  const at::Tensor own = times(at::mm(dy, gain.defined() ? scaled(B, gain.unsqueeze(1)) : B), scale);
  LowRankGradients result;
  const at::Tensor g = mix_blocks(mix.defined() ? mix.t() : mix, own);
  if (request.g) result.g = g;
  result.dA = gradient_product(g.t(), x);
  result.dB = times(gradient_product(dy.t(), mix_blocks(mix, h)), scale);
  if (gain.defined()) result.dB.mul_(gain.unsqueeze(1));
  if (mix.defined()) result.dmix = gradient_product(block_first(own, mix.size(0)), block_first(h, mix.size(1)).t());
  if (request.y.defined()) {
    const auto wide = dy.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    result.dgain = (request.dy * request.y).sum(0, false, wide);
    if (request.bias.defined()) result.dgain -= request.bias.to(wide) * request.dy.sum(0, false, wide);
    result.dgain = at::where(gain == 0, 0, result.dgain / gain);
  }
  if (request.dbias) result.dbias = request.dy.sum(0);
  return result;
}

LowRankGradients lowrank_gradients(const LowRankUpdate& update, const GradientRequest& request) {
  return has_cpu_lowrank_gradients(update, request) ? cpu_lowrank_gradients(update, request) : plain_lowrank_gradients(update, request);
}

}  // namespace lowrank::kernels
