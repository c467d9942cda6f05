#include "lowrank/train/diffusion/picture_batch.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include "lowrank/base/random.h"

namespace lowrank::train {

PictureSource::PictureSource(const data::ImageSet& set, const DiffusionTrainOptions& options,
                             const std::shared_ptr<models::UNet2DConditionModel>& unet, const Latents& latents, TextStates& text,
                             TensorCache& cache, TextUse use)
    : set_(set), options_(options), unet_(unet), latents_(latents), text_(text), cache_(cache), use_(use) {}

PictureBatch PictureSource::training(std::span<const data::Draw> draws, int64_t epoch, int64_t step, uint64_t seed,
                                     bool has_dropout) const {
  PictureBatch batch;
  std::vector<Item> items;
  const auto update = static_cast<uint64_t>(step);
  for (const data::Draw& draw : draws) {
    const auto& sample = set_.entries[static_cast<size_t>(draw.picture)].sample;
    const auto caption = caption_options(sample, options_.pictures.caption);
    const bool mirrored = options_.pictures.flip && data::is_mirrored(seed, epoch, draw.item());
    items.push_back({draw.picture, mirrored, data::process_caption(sample.caption, caption, seed, epoch, draw.item())});
    batch.ids.push_back(static_cast<int64_t>(draw.item()));
    batch.weights.push_back(sample.is_prior ? options_.prior_weight : 1);
    if (has_dropout) batch.keys.push_back(RandomStream(seed, "dropout", update, draw.item()).next_u64());
  }
  std::vector<at::Tensor> clean, masks;
  bool is_masked = false;
  for (size_t i = 0; i < items.size(); ++i) {
    const auto [mean, deviation, mask] = latents_.at(items[i].picture, items[i].mirrored);
    at::Tensor value = mean.to(at::kFloat);
    if (options_.latents == "sampled") {
      const std::vector<int64_t> id{batch.ids[i]};
      value = value + deviation.to(at::kFloat) * diffusion::normal_noise(seed, "latents", update, id, value.sizes()).squeeze(0);
    }
    clean.push_back(value);
    masks.push_back(mask.defined() ? mask : at::ones_like(value.slice(0, 0, 1)));
    is_masked = is_masked || mask.defined();
  }
  batch.clean = at::stack(clean);
  if (is_masked) batch.mask = at::stack(masks);
  finish(batch, items, use_);
  return batch;
}

PictureBatch PictureSource::plain(std::span<const int64_t> pictures) const {
  PictureBatch batch{.ids = {pictures.begin(), pictures.end()}, .weights = std::vector<double>(pictures.size(), 1)};
  std::vector<Item> items;
  std::vector<at::Tensor> clean;
  for (const int64_t picture : pictures) {
    const auto& sample = set_.entries[static_cast<size_t>(picture)].sample;
    items.push_back({picture, false, data::plain_caption(sample.caption, options_.pictures.caption)});
    clean.push_back(latents_.at(picture, false).mean.to(at::kFloat));
  }
  batch.clean = at::stack(clean);
  finish(batch, items, use_ == TextUse::trained ? TextUse::encoded : TextUse::cached);
  return batch;
}

void PictureSource::finish(PictureBatch& batch, const std::vector<Item>& items, TextUse use) const {
  const at::Tensor weight = unet_->parameters().front();
  const auto to_unet = [&](const at::Tensor& t) { return t.defined() ? t.to(weight.device(), weight.scalar_type()) : t; };
  std::vector<std::string> captions;
  std::vector<at::Tensor> ids;
  for (const Item& item : items) {
    captions.push_back(item.caption);
    if (unet_->config().added_width > 0)
      ids.push_back(at::tensor(time_ids(set_.entries[static_cast<size_t>(item.picture)], item.mirrored), at::kFloat));
  }
  const auto [states, pooled] = [&] {
    if (use == TextUse::trained) return text_.encode(captions, batch.dropout_keys());
    const at::NoGradGuard no_grad;
    return use == TextUse::encoded ? text_.encode(captions) : text_.cached(captions, cache_);
  }();
  batch.text = {to_unet(states), to_unet(pooled)};
  batch.clean = batch.clean.to(weight.device());
  if (batch.mask.defined()) batch.mask = batch.mask.to(weight.device());
  if (!ids.empty()) batch.time_ids = at::stack(ids).to(weight.device());
}

at::Tensor predict(models::UNet2DConditionModel& unet, const at::Tensor& noisy, std::span<const double> timesteps,
                   const PictureBatch& batch) {
  const at::Tensor weight = unet.parameters().front();
  const at::Tensor times = at::tensor(std::vector<double>(timesteps.begin(), timesteps.end()), at::kFloat).to(weight.device());
  return unet.forward(noisy.to(weight.scalar_type()), times, batch.text.states, {batch.text.pooled, batch.time_ids}, batch.dropout_keys())
      .to(at::kFloat);
}

at::Tensor denoising_losses(models::UNet2DConditionModel& unet, const diffusion::DiffusionLoss& loss, const PictureBatch& batch,
                            const at::Tensor& noise, std::span<const double> timesteps) {
  const auto& schedule = loss.schedule();
  const at::Tensor output = predict(unet, diffusion::add_noise(schedule, batch.clean, noise, timesteps), timesteps, batch);
  return loss.per_sample(output, diffusion::prediction_target(schedule, loss.prediction(), batch.clean, noise, timesteps), timesteps);
}

diffusion::LossSum denoising_loss(models::UNet2DConditionModel& unet, const diffusion::DiffusionLoss& loss, const PictureBatch& batch,
                                  const diffusion::TrainingNoise& noise, std::span<const double> timesteps) {
  const auto& schedule = loss.schedule();
  const at::Tensor output = predict(unet, diffusion::add_noise(schedule, batch.clean, noise.input, timesteps), timesteps, batch);
  const at::Tensor target = diffusion::prediction_target(schedule, loss.prediction(), batch.clean, noise.target, timesteps);
  return loss.sum(output, target, timesteps, batch.weights, batch.mask);
}

}  // namespace lowrank::train
