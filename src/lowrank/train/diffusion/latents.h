// Pictures as a UNet sees them: the autoencoder's moments of each, computed once and filed by content.
#pragma once

#include "lowrank/base/stop.h"
#include "lowrank/data/images/image_set.h"
#include "lowrank/models/diffusion/autoencoder_kl.h"
#include "lowrank/train/diffusion/tensor_cache.h"

namespace lowrank::train {

/// One picture, on the CPU: mean and deviation [latents, h, w] times the scaling factor; mask [1, h, w], the mean of its pixels over each
/// latent, or undefined.
struct PictureLatents {
  at::Tensor mean, deviation, mask;
};

class Latents {
 public:
  /// Keys are SHA-256 over data::picture_key and the autoencoder's weights and dtype. `set` and `cache` must outlive this.
  Latents(const data::ImageSet& set, const data::ImageDataOptions& options, const models::AutoencoderKL& vae, TensorCache& cache);

  /// Computes what the cache lacks, one picture at a time: plain, and mirrored where options.flip. Throws Error{cancelled} when stopped,
  /// what reading a picture throws, and Error{invalid_argument} naming a picture whose latents are not finite.
  void encode(models::AutoencoderKL& vae, const ProgressSink& progress = {}, const StopToken* stop = nullptr);
  /// Whether encode() has nothing to compute.
  bool is_complete() const;
  /// Error{internal} before encode().
  PictureLatents at(int64_t picture, bool mirrored) const;

 private:
  std::string key(int64_t picture, bool mirrored) const;
  tensor::TensorMap compute(int64_t picture, bool mirrored, models::AutoencoderKL& vae) const;

  const data::ImageSet& set_;
  data::ImageDataOptions options_;
  std::string vae_hash_;
  TensorCache& cache_;
};

}  // namespace lowrank::train
