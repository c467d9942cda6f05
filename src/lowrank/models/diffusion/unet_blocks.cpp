#include "lowrank/models/diffusion/unet_blocks.h"

#include <ATen/ops/cat.h>
#include <algorithm>

#include "lowrank/nn/recompute.h"

namespace lowrank::models {

void UNetLayers::add_resnet(int64_t in, int64_t out, const UNetConfig& config) {
  resnets_->add(in, out, config.time_width(), NormOptions{config.groups, config.epsilon});
}

void UNetLayers::add_transformer(const UNetLevel& level, const UNetConfig& config) {
  if (!attentions_) attentions_ = register_module("attentions", std::make_shared<Layers<Transformer2DModel>>());
  attentions_->add(level.channels, config.groups, level.transformer);
}

at::Tensor UNetLayers::run(size_t layer, const at::Tensor& x, const at::Tensor& skip, const Conditions& given) {
  const auto resnet = (*resnets_)[layer];
  const auto attention = attentions_ && layer < attentions_->size() ? (*attentions_)[layer] : nullptr;
  const auto both = [resnet, attention, keys = given.keys](const std::vector<at::Tensor>& in) {
    const Conditions again{in[0], in[1], keys};
    const at::Tensor h = resnet->forward(in.size() > 3 ? at::cat({in[2], in[3]}, 1) : in[2], again);
    return attention ? attention->forward(h, again) : h;
  };
  std::vector<at::Tensor> inputs{given.time, given.states, x};
  if (skip.defined()) inputs.push_back(skip);
  const auto trains = [](const auto& tensors) {
    return std::any_of(tensors.begin(), tensors.end(), [](const at::Tensor& t) { return t.requires_grad(); });
  };
  if (!recompute || !(trains(inputs) || trains(resnet->parameters()) || (attention && trains(attention->parameters()))))
    return both(inputs);
  return nn::recompute(both, inputs);
}

DownBlock::DownBlock(int64_t in, const UNetLevel& level, bool attends, bool halves, const UNetConfig& config) {
  for (int64_t i = 0; i < level.layers; ++i) {
    add_resnet(i == 0 ? in : level.channels, level.channels, config);
    if (attends) add_transformer(level, config);
  }
  if (!halves) return;
  downsamplers_ = register_module("downsamplers", std::make_shared<Layers<Downsample2D>>());
  downsamplers_->add(level.channels, /*padding=*/1);
}

at::Tensor DownBlock::forward(at::Tensor x, std::vector<at::Tensor>& skips, const Conditions& given) {
  for (size_t i = 0; i < resnets_->size(); ++i) {
    x = run(i, x, {}, given);
    skips.push_back(x);
  }
  if (downsamplers_) {
    x = (*downsamplers_)[0]->forward(x, given);
    skips.push_back(x);
  }
  return x;
}

MidBlock::MidBlock(const UNetLevel& level, const UNetConfig& config) {
  add_resnet(level.channels, level.channels, config);
  add_transformer(level, config);
  add_resnet(level.channels, level.channels, config);
}

at::Tensor MidBlock::forward(const at::Tensor& x, const Conditions& given) { return run(1, run(0, x, {}, given), {}, given); }

UpBlock::UpBlock(int64_t in, int64_t skip_in, const UNetLevel& level, bool attends, bool doubles, const UNetConfig& config) {
  const int64_t layers = level.layers + 1;
  for (int64_t i = 0; i < layers; ++i) {
    const int64_t from = i == 0 ? in : level.channels, skip = i + 1 == layers ? skip_in : level.channels;
    add_resnet(from + skip, level.channels, config);
    if (attends) add_transformer(level, config);
  }
  if (!doubles) return;
  upsamplers_ = register_module("upsamplers", std::make_shared<Layers<Upsample2D>>());
  upsamplers_->add(level.channels);
}

at::Tensor UpBlock::forward(at::Tensor x, std::vector<at::Tensor>& skips, const Conditions& given) {
  for (size_t i = 0; i < resnets_->size(); ++i) {
    x = run(i, x, skips.back(), given);
    skips.pop_back();
  }
  if (!upsamplers_) return x;
  return (*upsamplers_)[0]->forward(x, {skips.back().size(2), skips.back().size(3)}, given);
}

}  // namespace lowrank::models
