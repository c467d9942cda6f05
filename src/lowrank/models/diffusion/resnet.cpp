#include "lowrank/models/diffusion/resnet.h"

#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/upsample_nearest2d.h>

namespace lowrank::models {

nn::Conv2dOptions convolution(int64_t in, int64_t out, int64_t kernel) {
  return {.in = in, .out = out, .kernel = {kernel, kernel}, .padding = {kernel / 2, kernel / 2}};
}

ResnetBlock2D::ResnetBlock2D(int64_t in, int64_t out, int64_t time, const NormOptions& norm) {
  norm1_ = register_module("norm1", std::make_shared<nn::GroupNorm>(norm.groups, in, norm.epsilon));
  conv1_ = register_module("conv1", std::make_shared<nn::Conv2d>(convolution(in, out, 3)));
  if (time > 0) time_ = register_module("time_emb_proj", std::make_shared<nn::Linear>(time, out));
  norm2_ = register_module("norm2", std::make_shared<nn::GroupNorm>(norm.groups, out, norm.epsilon));
  conv2_ = register_module("conv2", std::make_shared<nn::Conv2d>(convolution(out, out, 3)));
  if (in != out) shortcut_ = register_module("conv_shortcut", std::make_shared<nn::Conv2d>(convolution(in, out, 1)));
}

at::Tensor ResnetBlock2D::forward(const at::Tensor& x, const Conditions& given) {
  at::Tensor h = conv1_->forward(norm1_->forward(x, /*silu=*/true), given.keys);
  if (time_) h = h + time_->forward(given.time, given.keys).unsqueeze(-1).unsqueeze(-1);
  h = conv2_->forward(norm2_->forward(h, /*silu=*/true), given.keys);
  return (shortcut_ ? shortcut_->forward(x, given.keys) : x) + h;
}

Downsample2D::Downsample2D(int64_t channels, int64_t padding) : padding_(padding) {
  nn::Conv2dOptions options = convolution(channels, channels, 3);
  options.stride = {2, 2};
  options.padding = {padding, padding};
  conv_ = register_module("conv", std::make_shared<nn::Conv2d>(options));
}

at::Tensor Downsample2D::forward(const at::Tensor& x, const Conditions& given) {
  return conv_->forward(padding_ == 0 ? at::constant_pad_nd(x, {0, 1, 0, 1}) : x, given.keys);
}

Upsample2D::Upsample2D(int64_t channels)
    : conv_(register_module("conv", std::make_shared<nn::Conv2d>(convolution(channels, channels, 3)))) {}

at::Tensor Upsample2D::forward(const at::Tensor& x, std::array<int64_t, 2> size, const Conditions& given) {
  return conv_->forward(at::upsample_nearest2d(x, size), given.keys);
}

}  // namespace lowrank::models
