// UNet2DConditionModel of Stable Diffusion 1.x and XL, with diffusers' names. Rombach et al., arXiv 2112.10752; Podell et al.,
// arXiv 2307.01952. Dropout of the base is not applied: it is frozen and runs as in evaluation.
#pragma once

#include "lowrank/models/diffusion/time_embedding.h"
#include "lowrank/models/diffusion/unet_blocks.h"

namespace lowrank::models {

/// SDXL's further conditions: pooled text [B, P] and time ids [B, 6] (original size, crop, target size).
struct AddedConditions {
  at::Tensor text, time_ids;
};

class UNet2DConditionModel : public torch::nn::Module {
 public:
  /// Throws what read_unet_config throws.
  UNet2DConditionModel(const Json& config, const std::string& where);

  /// What the model predicts for noisy latents x [B, in, height, width] at `times` [B] (or [1] for all) under text states
  /// [B, S, C]: [B, out, height, width]. `keys`: one a picture while training with dropout.
  /// Error{shape} for inputs that do not fit, Error{invalid_argument} for added conditions that lack or that nobody reads.
  at::Tensor forward(const at::Tensor& x, const at::Tensor& times, const at::Tensor& states, const AddedConditions& added = {},
                     const nn::RowKeys* keys = nullptr);

  /// Layers are run again in the backward pass instead of keeping what they computed.
  void set_recompute(bool recompute);
  const UNetConfig& config() const { return config_; }
  const Json& json() const { return json_; }

 private:
  void check_inputs(const at::Tensor& x, const at::Tensor& times, const at::Tensor& states, const AddedConditions& added) const;
  /// silu of the time embedding, [B, E].
  at::Tensor embed(const at::Tensor& x, const at::Tensor& times, const AddedConditions& added, const nn::RowKeys* keys);

  UNetConfig config_;
  Json json_;
  std::shared_ptr<nn::Conv2d> conv_in_, conv_out_;
  std::shared_ptr<TimestepEmbedding> time_embedding_, add_embedding_;
  std::shared_ptr<Layers<DownBlock>> down_;
  std::shared_ptr<MidBlock> mid_;
  std::shared_ptr<Layers<UpBlock>> up_;
  std::shared_ptr<nn::GroupNorm> norm_out_;
};

}  // namespace lowrank::models
