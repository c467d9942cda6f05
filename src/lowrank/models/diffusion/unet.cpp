#include "lowrank/models/diffusion/unet.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/silu.h>

#include "lowrank/tensor/load.h"

namespace lowrank::models {

UNet2DConditionModel::UNet2DConditionModel(const Json& config, const std::string& where)
    : config_(read_unet_config(config, where)), json_(config) {
  const auto& levels = config_.levels;
  const size_t count = levels.size();
  const int64_t first = levels.front().channels;
  conv_in_ = register_module("conv_in", std::make_shared<nn::Conv2d>(convolution(config_.in, first, 3)));
  time_embedding_ = register_module("time_embedding", std::make_shared<TimestepEmbedding>(first, config_.time_width()));
  if (config_.added_width > 0) {
    add_embedding_ = register_module("add_embedding", std::make_shared<TimestepEmbedding>(config_.added_width, config_.time_width()));
  }
  down_ = register_module("down_blocks", std::make_shared<Layers<DownBlock>>());
  for (size_t i = 0; i < count; ++i) {
    down_->add(levels[i == 0 ? 0 : i - 1].channels, levels[i], config_.down_attends[i], i + 1 < count, config_);
  }
  up_ = register_module("up_blocks", std::make_shared<Layers<UpBlock>>());
  mid_ = register_module("mid_block", std::make_shared<MidBlock>(levels.back(), config_));
  for (size_t i = 0; i < count; ++i) {
    const size_t level = count - 1 - i;
    const int64_t above = levels[std::min(level + 1, count - 1)].channels, below = levels[level == 0 ? 0 : level - 1].channels;
    up_->add(above, below, levels[level], config_.up_attends[i], i + 1 < count, config_);
  }
  norm_out_ = register_module("conv_norm_out", std::make_shared<nn::GroupNorm>(config_.groups, first, config_.epsilon));
  conv_out_ = register_module("conv_out", std::make_shared<nn::Conv2d>(convolution(first, config_.out, 3)));
}

void UNet2DConditionModel::set_recompute(bool recompute) {
  for (const auto& block : *down_) block->recompute = recompute;
  mid_->recompute = recompute;
  for (const auto& block : *up_) block->recompute = recompute;
}

void UNet2DConditionModel::check_inputs(const at::Tensor& x, const at::Tensor& times, const at::Tensor& states,
                                        const AddedConditions& added) const {
  const auto expect = [](bool fits, const char* what, const std::string& expected, const at::Tensor& got) {
    check(fits, ErrorKind::shape, "unet", "{}: expected {}, got {}", what, expected, tensor::shape_text(got.sizes()));
  };
  expect(x.dim() == 4 && x.size(1) == config_.in, "latents", fmt::format("[B, {}, height, width]", config_.in), x);
  const int64_t b = x.size(0), width = config_.levels.front().transformer.states;
  expect(times.dim() == 1 && (times.size(0) == b || times.size(0) == 1), "times", fmt::format("[{}] or [1]", b), times);
  expect(states.dim() == 3 && states.size(0) == b && states.size(2) == width, "text states", fmt::format("[{}, S, {}]", b, width), states);
  const bool given = added.text.defined() && added.time_ids.defined();
  check(config_.added_width > 0 ? given : !added.text.defined() && !added.time_ids.defined(), ErrorKind::invalid_argument, "unet", "{}",
        config_.added_width > 0 ? "this model (SDXL) needs the pooled text and the time ids"
                                : "this model has no place for pooled text and time ids");
  if (!given) return;
  expect(added.text.dim() == 2 && added.text.size(0) == b, "pooled text", fmt::format("[{}, P]", b), added.text);
  expect(added.time_ids.dim() == 2 && added.time_ids.size(0) == b &&
             added.text.size(1) + added.time_ids.size(1) * config_.added_time_width == config_.added_width,
         "time ids",
         fmt::format("[{}, n] with {} (the pooled text's width) + n·{} = {}", b, added.text.size(1), config_.added_time_width,
                     config_.added_width),
         added.time_ids);
}

at::Tensor UNet2DConditionModel::embed(const at::Tensor& x, const at::Tensor& times, const AddedConditions& added,
                                       const nn::RowKeys* keys) {
  const auto waves = [&](const at::Tensor& numbers, int64_t width) {
    return sinusoids(numbers, width, config_.cosine_first, config_.frequency_shift);
  };
  const at::Tensor all_times = times.to(x.device()).expand({x.size(0)});
  at::Tensor time = time_embedding_->forward(waves(all_times, config_.levels.front().channels).to(x.scalar_type()), keys);
  if (add_embedding_) {
    const at::Tensor ids = waves(added.time_ids.flatten(), config_.added_time_width).view({x.size(0), -1});
    time = time + add_embedding_->forward(at::cat({added.text, ids.to(added.text.scalar_type())}, 1).to(x.scalar_type()), keys);
  }
  return at::silu(time);
}

at::Tensor UNet2DConditionModel::forward(const at::Tensor& x, const at::Tensor& times, const at::Tensor& states,
                                         const AddedConditions& added, const nn::RowKeys* keys) {
  check_inputs(x, times, states, added);
  const Conditions given{embed(x, times, added, keys), states, keys};
  at::Tensor h = conv_in_->forward(x, keys);
  std::vector<at::Tensor> skips{h};
  for (const auto& block : *down_) h = block->forward(h, skips, given);
  h = mid_->forward(h, given);
  for (const auto& block : *up_) h = block->forward(h, skips, given);
  return conv_out_->forward(norm_out_->forward(h, /*silu=*/true), keys);
}

}  // namespace lowrank::models
