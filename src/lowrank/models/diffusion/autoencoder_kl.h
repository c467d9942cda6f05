// AutoencoderKL: pictures to latents of an eighth of the size and back, with diffusers' names. Rombach et al., arXiv 2112.10752.
#pragma once

#include "lowrank/base/json.h"
#include "lowrank/models/diffusion/layers.h"
#include "lowrank/nn/conv2d.h"

namespace lowrank::models {

struct AutoencoderConfig {
  int64_t in = 3, out = 3, latents = 4, layers = 1, groups = 32;
  std::vector<int64_t> channels;
  double scaling_factor = 0.18215;
  bool quant_conv = true, post_quant_conv = true, mid_attention = true;
};

/// Throws what ComponentConfig::finish throws.
AutoencoderConfig read_autoencoder_config(const Json& config, const std::string& where);

/// The normal distribution of a picture's latents: mean and log-variance, clamped to [−30, 20], both [B, latents, h, w].
struct LatentMoments {
  at::Tensor mean, logvar;
};

class AutoencoderKL : public torch::nn::Module {
 public:
  AutoencoderKL(const Json& config, const std::string& where);

  /// Pictures [B, in, H, W] in [−1, 1]; latents are not scaled. Error{shape} for sizes that the halvings do not divide.
  LatentMoments encode(const at::Tensor& pictures, const nn::RowKeys* keys = nullptr);
  /// Unscaled latents [B, latents, h, w] → pictures [B, out, H, W], about [−1, 1], not clamped.
  at::Tensor decode(const at::Tensor& latents, const nn::RowKeys* keys = nullptr);

  /// Lets go of the layers that only encode() needs, which then throws Error{internal}.
  void release_encoder();
  /// Whether a parameter is of those layers.
  static bool is_for_encoding(const std::string& parameter) {
    return parameter.starts_with("encoder.") || parameter.starts_with("quant_conv.");
  }

  /// A UNet sees latents times this.
  double scaling_factor() const { return config_.scaling_factor; }
  /// For a new autoencoder: 1/deviation of its latents, so that a UNet sees numbers of unit size.
  void set_scaling_factor(double factor);
  /// H/h = W/w.
  int64_t shrink() const { return int64_t{1} << (config_.channels.size() - 1); }
  const AutoencoderConfig& config() const { return config_; }
  const Json& json() const { return json_; }

 private:
  class Encoder;
  class Decoder;

  AutoencoderConfig config_;
  Json json_;
  std::shared_ptr<Encoder> encoder_;
  std::shared_ptr<Decoder> decoder_;
  std::shared_ptr<nn::Conv2d> quant_, post_quant_;
};

}  // namespace lowrank::models
