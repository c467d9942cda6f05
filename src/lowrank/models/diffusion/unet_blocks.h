// The blocks of UNet2DConditionModel: residual layers, each followed by a transformer where the block has them.
#pragma once

#include "lowrank/models/diffusion/resnet.h"
#include "lowrank/models/diffusion/unet_config.h"

namespace lowrank::models {

/// Residual layer i and transformer i, run again in the backward pass when `recompute`.
class UNetLayers : public torch::nn::Module {
 public:
  bool recompute = false;

 protected:
  void add_resnet(int64_t in, int64_t out, const UNetConfig& config);
  void add_transformer(const UNetLevel& level, const UNetConfig& config);
  /// `skip` is joined to x's channels when defined.
  at::Tensor run(size_t layer, const at::Tensor& x, const at::Tensor& skip, const Conditions& given);

  std::shared_ptr<Layers<ResnetBlock2D>> resnets_ = register_module("resnets", std::make_shared<Layers<ResnetBlock2D>>());
  std::shared_ptr<Layers<Transformer2DModel>> attentions_;  // null for a block without
};

/// CrossAttnDownBlock2D, or DownBlock2D without transformers.
class DownBlock : public UNetLayers {
 public:
  DownBlock(int64_t in, const UNetLevel& level, bool attends, bool halves, const UNetConfig& config);
  /// Appends the output of every layer, and of the change of resolution, to `skips`; the last of them is the result.
  at::Tensor forward(at::Tensor x, std::vector<at::Tensor>& skips, const Conditions& given);

 private:
  std::shared_ptr<Layers<Downsample2D>> downsamplers_;  // null in the last block
};

/// UNetMidBlock2DCrossAttn: residual layer, transformer, residual layer.
class MidBlock : public UNetLayers {
 public:
  MidBlock(const UNetLevel& level, const UNetConfig& config);
  at::Tensor forward(const at::Tensor& x, const Conditions& given);
};

/// CrossAttnUpBlock2D, or UpBlock2D without transformers.
class UpBlock : public UNetLayers {
 public:
  /// `in`: channels of x; `skip_in`: channels of the last skip, which comes from the level below.
  UpBlock(int64_t in, int64_t skip_in, const UNetLevel& level, bool attends, bool doubles, const UNetConfig& config);
  /// Takes one of `skips` a layer from the end, and doubles to the size of the next.
  at::Tensor forward(at::Tensor x, std::vector<at::Tensor>& skips, const Conditions& given);

 private:
  std::shared_ptr<Layers<Upsample2D>> upsamplers_;  // null in the last block
};

}  // namespace lowrank::models
