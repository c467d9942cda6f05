#include "lowrank/train/diffusion/latents.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/isfinite.h>

#include "lowrank/base/error.h"
#include "lowrank/base/hash.h"
#include "lowrank/tensor/dtype.h"
#include "lowrank/train/diffusion/pixels.h"

namespace lowrank::train {

Latents::Latents(const data::ImageSet& set, const data::ImageDataOptions& options, const models::AutoencoderKL& vae, TensorCache& cache)
    : set_(set), options_(options), vae_hash_(sha256_hex(weights_hash(vae) + vae.json().dump())), cache_(cache) {}

std::string Latents::key(int64_t picture, bool mirrored) const {
  const auto& entry = set_.entries[static_cast<size_t>(picture)];
  const std::string pixels = data::picture_key(entry.content_hash, entry.mask_hash, set_.recipe(picture, options_, mirrored));
  return sha256_hex(fmt::format("latents 1\n{}\n{}\n", pixels, vae_hash_));
}

tensor::TensorMap Latents::compute(int64_t picture, bool mirrored, models::AutoencoderKL& vae) const {
  const at::NoGradGuard no_grad;
  const auto [shown, mask] = set_.prepare(picture, options_, mirrored);
  const at::Tensor weight = vae.parameters().front();
  const at::Tensor pixels = to_pixels(shown.rgb, shown.size);
  const auto [mean, logvar] = vae.encode(pixels.to(weight.device(), weight.scalar_type()));
  const at::Tensor deviation = (0.5 * logvar).exp();
  if (!at::isfinite(mean).all().item<bool>() || !at::isfinite(deviation).all().item<bool>()) {
    fail(ErrorKind::invalid_argument, set_.entries[static_cast<size_t>(picture)].sample.path.string(),
         fmt::format("expected finite latents, got NaN or infinity from the autoencoder in {}", tensor::dtype_name(weight.scalar_type())),
         weight.scalar_type() == at::kFloat ? "look at this picture, or leave it out" : "use --dtype float32, or leave this picture out");
  }
  const double scale = vae.scaling_factor();
  tensor::TensorMap tensors = {{"mean", (mean * scale).squeeze(0).cpu()}, {"deviation", (deviation * scale).squeeze(0).cpu()}};
  if (!mask.empty()) tensors["mask"] = at::avg_pool2d(planes(mask, shown.size, 1) / 255, {vae.shrink(), vae.shrink()}).squeeze(0);
  return tensors;
}

void Latents::encode(models::AutoencoderKL& vae, const ProgressSink& progress, const StopToken* stop) {
  const int64_t ways = options_.flip ? 2 : 1, total = set_.size() * ways;
  for (int64_t i = 0; i < total; ++i) {
    if (stop != nullptr && stop->requested()) {
      fail(ErrorKind::cancelled, "latents", fmt::format("stopped by the user after {} of {} pictures", i, total),
           "they are kept: the same command goes on from there");
    }
    const int64_t picture = i / ways;
    const bool mirrored = i % ways == 1;
    cache_.get(key(picture, mirrored), [&] { return compute(picture, mirrored, vae); });
    if (progress) progress({"encode pictures", i + 1, total, "pictures", {}});
  }
}

bool Latents::is_complete() const {
  for (int64_t picture = 0; picture < set_.size(); ++picture) {
    if (!cache_.has(key(picture, false)) || (options_.flip && !cache_.has(key(picture, true)))) return false;
  }
  return true;
}

PictureLatents Latents::at(int64_t picture, bool mirrored) const {
  tensor::TensorMap tensors = cache_.get(key(picture, mirrored), [&]() -> tensor::TensorMap {
    fail(ErrorKind::internal, "latents", fmt::format("'{}' was not encoded", set_.entries[static_cast<size_t>(picture)].sample.name));
  });
  return {tensors.at("mean"), tensors.at("deviation"), tensors.contains("mask") ? tensors.at("mask") : at::Tensor()};
}

}  // namespace lowrank::train
