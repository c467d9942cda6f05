// The residual layer of Stable Diffusion's UNet and autoencoder, and its changes of resolution.
#pragma once

#include <array>

#include "lowrank/models/diffusion/layers.h"
#include "lowrank/nn/conv2d.h"
#include "lowrank/nn/group_norm.h"
#include "lowrank/nn/linear.h"

namespace lowrank::models {

struct NormOptions {
  int64_t groups = 32;
  double epsilon = 1e-5;
};

/// shortcut(x) + conv2(silu(norm2(conv1(silu(norm1(x))) + time_emb_proj(silu(time))))), x [B, in, height, width].
class ResnetBlock2D : public torch::nn::Module {
 public:
  /// `time` is the width of the time embedding, 0 for none.
  ResnetBlock2D(int64_t in, int64_t out, int64_t time, const NormOptions& norm);
  at::Tensor forward(const at::Tensor& x, const Conditions& given);

 private:
  std::shared_ptr<nn::GroupNorm> norm1_, norm2_;
  std::shared_ptr<nn::Conv2d> conv1_, conv2_, shortcut_;
  std::shared_ptr<nn::Linear> time_;
};

/// 3×3 convolution of stride 2; without padding of its own a row and a column of zeros are added at the end.
class Downsample2D : public torch::nn::Module {
 public:
  Downsample2D(int64_t channels, int64_t padding);
  at::Tensor forward(const at::Tensor& x, const Conditions& given);

 private:
  int64_t padding_;
  std::shared_ptr<nn::Conv2d> conv_;
};

/// Nearest neighbour to `size`, then a 3×3 convolution.
class Upsample2D : public torch::nn::Module {
 public:
  explicit Upsample2D(int64_t channels);
  at::Tensor forward(const at::Tensor& x, std::array<int64_t, 2> size, const Conditions& given);

 private:
  std::shared_ptr<nn::Conv2d> conv_;
};

nn::Conv2dOptions convolution(int64_t in, int64_t out, int64_t kernel);

}  // namespace lowrank::models
