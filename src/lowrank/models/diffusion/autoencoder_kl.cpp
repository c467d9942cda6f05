#include "lowrank/models/diffusion/autoencoder_kl.h"

#include <ATen/ops/clamp.h>
#include <ATen/ops/silu.h>
#include <algorithm>

#include "lowrank/models/diffusion/attention.h"
#include "lowrank/models/diffusion/component_config.h"
#include "lowrank/models/diffusion/resnet.h"
#include "lowrank/tensor/load.h"

namespace lowrank::models {

namespace {

constexpr double kEpsilon = 1e-6;

/// x + to_out(attention(GroupNorm(x))), one head over all pixels.
class PixelAttention : public Attention {
 public:
  PixelAttention(int64_t channels, int64_t groups)
      : Attention(channels, channels, /*heads=*/1, /*with_bias=*/true),
        norm_(register_module("group_norm", std::make_shared<nn::GroupNorm>(groups, channels, kEpsilon))) {}

  at::Tensor forward(const at::Tensor& x, const Conditions& given) {
    const at::Tensor rows = norm_->forward(x).permute({0, 2, 3, 1}).flatten(1, 2);
    return x + Attention::forward(rows, rows, given.keys).view({x.size(0), x.size(2), x.size(3), -1}).permute({0, 3, 1, 2});
  }

 private:
  std::shared_ptr<nn::GroupNorm> norm_;
};

/// "mid_block"
class Middle : public torch::nn::Module {
 public:
  Middle(int64_t channels, const AutoencoderConfig& config)
      : resnets_(register_module("resnets", std::make_shared<Layers<ResnetBlock2D>>())) {
    for (int i = 0; i < 2; ++i) resnets_->add(channels, channels, 0, NormOptions{config.groups, kEpsilon});
    if (!config.mid_attention) return;
    attentions_ = register_module("attentions", std::make_shared<Layers<PixelAttention>>());
    attentions_->add(channels, config.groups);
  }

  at::Tensor forward(const at::Tensor& x, const Conditions& given) {
    at::Tensor h = (*resnets_)[0]->forward(x, given);
    if (attentions_) h = (*attentions_)[0]->forward(h, given);
    return (*resnets_)[1]->forward(h, given);
  }

 private:
  std::shared_ptr<Layers<ResnetBlock2D>> resnets_;
  std::shared_ptr<Layers<PixelAttention>> attentions_;
};

/// DownEncoderBlock2D and UpDecoderBlock2D: residual layers, then the change of resolution unless `last`.
class Level : public torch::nn::Module {
 public:
  Level(int64_t in, int64_t out, int64_t layers, bool up, bool last, const AutoencoderConfig& config)
      : resnets_(register_module("resnets", std::make_shared<Layers<ResnetBlock2D>>())) {
    for (int64_t i = 0; i < layers; ++i) resnets_->add(i == 0 ? in : out, out, 0, NormOptions{config.groups, kEpsilon});
    if (last) return;
    if (up) {
      up_ = register_module("upsamplers", std::make_shared<Layers<Upsample2D>>());
      up_->add(out);
    } else {
      down_ = register_module("downsamplers", std::make_shared<Layers<Downsample2D>>());
      down_->add(out, /*padding=*/0);
    }
  }

  at::Tensor forward(at::Tensor x, const Conditions& given) {
    for (const auto& resnet : *resnets_) x = resnet->forward(x, given);
    if (up_) return (*up_)[0]->forward(x, {2 * x.size(2), 2 * x.size(3)}, given);
    return down_ ? (*down_)[0]->forward(x, given) : x;
  }

 private:
  std::shared_ptr<Layers<ResnetBlock2D>> resnets_;
  std::shared_ptr<Layers<Upsample2D>> up_;
  std::shared_ptr<Layers<Downsample2D>> down_;
};

/// "conv_norm_out" and "conv_out" of both sides.
struct Tail {
  Tail(torch::nn::Module& owner, int64_t in, int64_t out, int64_t groups)
      : norm(owner.register_module("conv_norm_out", std::make_shared<nn::GroupNorm>(groups, in, kEpsilon))),
        conv(owner.register_module("conv_out", std::make_shared<nn::Conv2d>(convolution(in, out, 3)))) {}

  at::Tensor forward(const at::Tensor& x, const Conditions& given) { return conv->forward(norm->forward(x, /*silu=*/true), given.keys); }

  std::shared_ptr<nn::GroupNorm> norm;
  std::shared_ptr<nn::Conv2d> conv;
};

}  // namespace

class AutoencoderKL::Encoder : public torch::nn::Module {
 public:
  explicit Encoder(const AutoencoderConfig& config)
      : in_(register_module("conv_in", std::make_shared<nn::Conv2d>(convolution(config.in, config.channels.front(), 3)))),
        levels_(register_module("down_blocks", std::make_shared<Layers<Level>>())),
        middle_(register_module("mid_block", std::make_shared<Middle>(config.channels.back(), config))),
        tail_(*this, config.channels.back(), 2 * config.latents, config.groups) {
    const auto& channels = config.channels;
    for (size_t i = 0; i < channels.size(); ++i) {
      levels_->add(channels[i == 0 ? 0 : i - 1], channels[i], config.layers, /*up=*/false, i + 1 == channels.size(), config);
    }
  }

  at::Tensor forward(const at::Tensor& x, const Conditions& given) {
    at::Tensor h = in_->forward(x, given.keys);
    for (const auto& level : *levels_) h = level->forward(h, given);
    return tail_.forward(middle_->forward(h, given), given);
  }

 private:
  std::shared_ptr<nn::Conv2d> in_;
  std::shared_ptr<Layers<Level>> levels_;
  std::shared_ptr<Middle> middle_;
  Tail tail_;
};

class AutoencoderKL::Decoder : public torch::nn::Module {
 public:
  explicit Decoder(const AutoencoderConfig& config)
      : in_(register_module("conv_in", std::make_shared<nn::Conv2d>(convolution(config.latents, config.channels.back(), 3)))),
        middle_(register_module("mid_block", std::make_shared<Middle>(config.channels.back(), config))),
        levels_(register_module("up_blocks", std::make_shared<Layers<Level>>())),
        tail_(*this, config.channels.front(), config.out, config.groups) {
    std::vector<int64_t> channels = config.channels;
    std::ranges::reverse(channels);
    for (size_t i = 0; i < channels.size(); ++i) {
      levels_->add(channels[i == 0 ? 0 : i - 1], channels[i], config.layers + 1, /*up=*/true, i + 1 == channels.size(), config);
    }
  }

  at::Tensor forward(const at::Tensor& x, const Conditions& given) {
    at::Tensor h = middle_->forward(in_->forward(x, given.keys), given);
    for (const auto& level : *levels_) h = level->forward(h, given);
    return tail_.forward(h, given);
  }

 private:
  std::shared_ptr<nn::Conv2d> in_;
  std::shared_ptr<Middle> middle_;
  std::shared_ptr<Layers<Level>> levels_;
  Tail tail_;
};

AutoencoderConfig read_autoencoder_config(const Json& json, const std::string& where) {
  ComponentConfig reader(json, where, "AutoencoderKL");
  AutoencoderConfig config;
  config.in = reader.size("in_channels", config.in);
  config.out = reader.size("out_channels", config.out);
  config.latents = reader.size("latent_channels", config.latents);
  config.layers = reader.size("layers_per_block", config.layers);
  config.groups = reader.size("norm_num_groups", config.groups);
  const auto down = reader.words("down_block_types", {"DownEncoderBlock2D"}), up = reader.words("up_block_types", {"UpDecoderBlock2D"});
  config.channels = reader.sizes("block_out_channels", down.size(), {64});
  config.scaling_factor = reader.number("scaling_factor", config.scaling_factor);
  config.quant_conv = reader.flag("use_quant_conv", true);
  config.post_quant_conv = reader.flag("use_post_quant_conv", true);
  config.mid_attention = reader.flag("mid_block_add_attention", true);
  reader.only({{"act_fn", "silu"}, {"shift_factor", nullptr}, {"latents_mean", nullptr}, {"latents_std", nullptr}});
  reader.only({{"down_block_types", std::vector<std::string>(down.size(), "DownEncoderBlock2D")},
               {"up_block_types", std::vector<std::string>(down.size(), "UpDecoderBlock2D")}});
  reader.harmless({"sample_size", "force_upcast"});
  reader.finish();
  for (const int64_t channels : config.channels) {
    check(channels % config.groups == 0, ErrorKind::file_format, where, "norm_num_groups {} do not divide {} channels", config.groups,
          channels);
  }
  return config;
}

AutoencoderKL::AutoencoderKL(const Json& config, const std::string& where)
    : config_(read_autoencoder_config(config, where)), json_(config) {
  encoder_ = register_module("encoder", std::make_shared<Encoder>(config_));
  decoder_ = register_module("decoder", std::make_shared<Decoder>(config_));
  const int64_t latents = config_.latents;
  if (config_.quant_conv) quant_ = register_module("quant_conv", std::make_shared<nn::Conv2d>(convolution(2 * latents, 2 * latents, 1)));
  if (config_.post_quant_conv)
    post_quant_ = register_module("post_quant_conv", std::make_shared<nn::Conv2d>(convolution(latents, latents, 1)));
}

void AutoencoderKL::set_scaling_factor(double factor) {
  config_.scaling_factor = factor;
  json_["scaling_factor"] = factor;
}

void AutoencoderKL::release_encoder() {
  unregister_module("encoder");
  if (quant_) unregister_module("quant_conv");
  encoder_.reset();
  quant_.reset();
}

LatentMoments AutoencoderKL::encode(const at::Tensor& pictures, const nn::RowKeys* keys) {
  check(encoder_ != nullptr, ErrorKind::internal, "autoencoder", "the encoder was let go of");
  check(pictures.dim() == 4 && pictures.size(1) == config_.in && pictures.size(2) % shrink() == 0 && pictures.size(3) % shrink() == 0,
        ErrorKind::shape, "autoencoder", "expected pictures [B, {}, H, W] with H and W multiples of {}, got {}", config_.in, shrink(),
        tensor::shape_text(pictures.sizes()));
  const Conditions given{{}, {}, keys};
  at::Tensor moments = encoder_->forward(pictures, given);
  if (quant_) moments = quant_->forward(moments, keys);
  const auto halves = moments.chunk(2, 1);
  return {halves[0], at::clamp(halves[1], -30.0, 20.0)};
}

at::Tensor AutoencoderKL::decode(const at::Tensor& latents, const nn::RowKeys* keys) {
  check(latents.dim() == 4 && latents.size(1) == config_.latents, ErrorKind::shape, "autoencoder", "expected latents [B, {}, h, w], got {}",
        config_.latents, tensor::shape_text(latents.sizes()));
  return decoder_->forward(post_quant_ ? post_quant_->forward(latents, keys) : latents, Conditions{{}, {}, keys});
}

}  // namespace lowrank::models
