#include "lowrank/models/diffusion/transformer_2d.h"

#include <ATen/ops/gelu.h>

#include "lowrank/models/diffusion/resnet.h"

namespace lowrank::models {

namespace {

/// "net.0": h·gelu(gate), both halves of one projection. Shazeer, arXiv 2002.05202.
class Geglu : public torch::nn::Module {
 public:
  Geglu(int64_t width, int64_t inner) : proj_(register_module("proj", std::make_shared<nn::Linear>(width, 2 * inner))) {}

  at::Tensor forward(const at::Tensor& x, const nn::RowKeys* keys) {
    const auto halves = proj_->forward(x, keys).chunk(2, -1);
    return halves[0] * at::gelu(halves[1]);
  }

 private:
  std::shared_ptr<nn::Linear> proj_;
};

std::shared_ptr<nn::Host> projection(int64_t channels, bool linear) {
  if (linear) return std::make_shared<nn::Linear>(channels, channels);
  return std::make_shared<nn::Conv2d>(convolution(channels, channels, 1));
}

}  // namespace

/// "ff": net.0 is the GEGLU, net.1 a dropout without parameters, net.2 the way back.
class BasicTransformerBlock::FeedForward : public torch::nn::Module {
 public:
  explicit FeedForward(int64_t width) {
    const auto net = register_module("net", std::make_shared<torch::nn::Module>("ModuleList"));
    gate_ = net->register_module("0", std::make_shared<Geglu>(width, 4 * width));
    out_ = net->register_module("2", std::make_shared<nn::Linear>(4 * width, width));
  }

  at::Tensor forward(const at::Tensor& x, const nn::RowKeys* keys) { return out_->forward(gate_->forward(x, keys), keys); }

 private:
  std::shared_ptr<Geglu> gate_;
  std::shared_ptr<nn::Linear> out_;
};

BasicTransformerBlock::BasicTransformerBlock(int64_t width, const TransformerOptions& options) {
  constexpr double kEpsilon = 1e-5;
  norm1_ = register_module("norm1", std::make_shared<nn::LayerNorm>(width, kEpsilon));
  self_ = register_module("attn1", std::make_shared<Attention>(width, width, options.heads, /*with_bias=*/false));
  norm2_ = register_module("norm2", std::make_shared<nn::LayerNorm>(width, kEpsilon));
  cross_ = register_module("attn2", std::make_shared<Attention>(width, options.states, options.heads, /*with_bias=*/false));
  norm3_ = register_module("norm3", std::make_shared<nn::LayerNorm>(width, kEpsilon));
  inner_ = register_module("ff", std::make_shared<FeedForward>(width));
}

at::Tensor BasicTransformerBlock::forward(const at::Tensor& x, const Conditions& given) {
  const at::Tensor normed = norm1_->forward(x);
  at::Tensor h = x + self_->forward(normed, normed, given.keys);
  h = h + cross_->forward(norm2_->forward(h), given.states, given.keys);
  return h + inner_->forward(norm3_->forward(h), given.keys);
}

Transformer2DModel::Transformer2DModel(int64_t channels, int64_t groups, const TransformerOptions& options)
    : linear_(options.linear_projection) {
  norm_ = register_module("norm", std::make_shared<nn::GroupNorm>(groups, channels, 1e-6));
  in_ = register_module("proj_in", projection(channels, linear_));
  blocks_ = register_module("transformer_blocks", std::make_shared<Layers<BasicTransformerBlock>>());
  for (int64_t i = 0; i < options.layers; ++i) blocks_->add(channels, options);
  out_ = register_module("proj_out", projection(channels, linear_));
}

at::Tensor Transformer2DModel::forward(const at::Tensor& x, const Conditions& given) {
  // Pixels as rows and pixels as a picture are views of the same memory when channels come last.
  const auto rows_of = [](const at::Tensor& picture) { return picture.permute({0, 2, 3, 1}).flatten(1, 2); };
  const auto picture_of = [&](const at::Tensor& rows) { return rows.view({x.size(0), x.size(2), x.size(3), -1}).permute({0, 3, 1, 2}); };
  const at::Tensor normed = norm_->forward(x);
  at::Tensor h = linear_ ? in_->forward(rows_of(normed), given.keys) : rows_of(in_->forward(normed, given.keys));
  for (const auto& block : *blocks_) h = block->forward(h, given);
  return x + (linear_ ? picture_of(out_->forward(h, given.keys)) : out_->forward(picture_of(h), given.keys));
}

}  // namespace lowrank::models
