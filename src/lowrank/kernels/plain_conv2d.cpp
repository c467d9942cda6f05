#include "lowrank/kernels/plain_conv2d.h"

#include <ATen/ops/add.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/matmul.h>

namespace lowrank::kernels {

namespace {

at::Tensor by_channel(const at::Tensor& vector) { return vector.view({-1, 1, 1}); }

}  // namespace

at::Tensor plain_lowrank_conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const ConvGeometry& geometry,
                                const LowRankUpdate& update) {
  const auto& [A, B, gain, mix, scale] = update;
  const auto dtype = x.scalar_type();
  const auto convolve = [&](const at::Tensor& pixels, const at::Tensor& kernels, const at::Tensor& added) {
    return at::conv2d(pixels, kernels, added.defined() ? std::optional(added) : std::nullopt, geometry.stride, geometry.padding,
                      geometry.dilation);
  };
  const int64_t channels = A.size(1) / geometry.taps(), height = x.size(2), width = x.size(3);
  const at::Tensor by_block = update.in_blocks() == 1 ? x : x.reshape({-1, channels, height, width});
  at::Tensor h = convolve(by_block, A.to(dtype).view({-1, channels, geometry.kernel[0], geometry.kernel[1]}), {});
  const auto shape = h.sizes().vec();
  if (mix.defined()) {
    h = at::matmul(mix.to(dtype), h.reshape({x.size(0), mix.size(1), -1})).view({-1, shape[1], shape[2], shape[3]});
  }
  const at::Tensor change = at::conv2d(h, B.to(dtype).unsqueeze(-1).unsqueeze(-1)).reshape({x.size(0), -1, shape[2], shape[3]});
  const at::Tensor y = at::add(convolve(x, weight, gain.defined() ? at::Tensor() : bias), change, scale);
  if (!gain.defined()) return y;
  // gain − 1, which narrow dtypes keep the digits of.
  const at::Tensor scaled = at::addcmul(y, y, by_channel((gain - 1).to(dtype)));
  return bias.defined() ? scaled + by_channel(bias) : scaled;
}

}  // namespace lowrank::kernels
