// The transformer between a UNet's residual layers: pixels attend to each other and to the text. Rombach et al., arXiv 2112.10752.
#pragma once

#include "lowrank/models/diffusion/attention.h"
#include "lowrank/nn/conv2d.h"
#include "lowrank/nn/group_norm.h"
#include "lowrank/nn/layer_norm.h"

namespace lowrank::models {

struct TransformerOptions {
  int64_t heads = 8, layers = 1, states = 768;  // states: width of the text's
  bool linear_projection = false;               // in and out of the transformer: a matrix (SDXL) or a 1×1 convolution (SD1.5)
};

/// Self-attention, cross-attention and GEGLU feed-forward, each x + f(LayerNorm(x)), over [B, T, C].
class BasicTransformerBlock : public torch::nn::Module {
 public:
  BasicTransformerBlock(int64_t width, const TransformerOptions& options);
  at::Tensor forward(const at::Tensor& x, const Conditions& given);

 private:
  class FeedForward;
  std::shared_ptr<nn::LayerNorm> norm1_, norm2_, norm3_;
  std::shared_ptr<Attention> self_, cross_;
  std::shared_ptr<FeedForward> inner_;
};

/// x + proj_out(blocks(proj_in(GroupNorm(x)))), x [B, C, height, width].
class Transformer2DModel : public torch::nn::Module {
 public:
  Transformer2DModel(int64_t channels, int64_t groups, const TransformerOptions& options);
  at::Tensor forward(const at::Tensor& x, const Conditions& given);

 private:
  bool linear_;
  std::shared_ptr<nn::GroupNorm> norm_;
  std::shared_ptr<nn::Host> in_, out_;
  std::shared_ptr<Layers<BasicTransformerBlock>> blocks_;
};

}  // namespace lowrank::models
