// What one pass of a UNet trains on, as a function of (seed, epoch, step, draw) alone.
#pragma once

#include <span>

#include "lowrank/diffusion/draws.h"
#include "lowrank/diffusion/loss.h"
#include "lowrank/train/diffusion/caption_lengths.h"
#include "lowrank/train/diffusion/latents.h"
#include "lowrank/train/diffusion/options.h"
#include "lowrank/train/diffusion/text_states.h"

namespace lowrank::train {

/// Pictures of one size; tensors on the UNet's device.
struct PictureBatch {
  std::vector<int64_t> ids;     // that noise and timesteps are drawn by
  at::Tensor clean, mask;       // [B, latents, h, w] float32, scaled; [B, 1, h, w] or undefined
  std::vector<double> weights;  // of the samples' losses
  TextConditions text;          // in the UNet's dtype
  at::Tensor time_ids;          // [B, 6] in SDXL, else undefined
  nn::RowKeys keys;             // [B] while training with dropout, else empty

  const nn::RowKeys* dropout_keys() const { return keys.empty() ? nullptr : &keys; }
};

/// Captions' way to the UNet in training: filed; through frozen encoders at each pass, where they are ever new; or with gradients.
enum class TextUse { cached, encoded, trained };

/// Where pictures, captions and their cached forms come together.
class PictureSource {
 public:
  /// All must outlive this.
  PictureSource(const data::ImageSet& set, const DiffusionTrainOptions& options, const std::shared_ptr<models::UNet2DConditionModel>& unet,
                const Latents& latents, TextStates& text, TensorCache& cache, TextUse use);

  PictureBatch training(std::span<const data::Draw> draws, int64_t epoch, int64_t step, uint64_t seed, bool has_dropout) const;
  /// Nothing random: mean latents, plain captions, upright; pictures of one size.
  PictureBatch plain(std::span<const int64_t> pictures) const;
  const data::ImageSet& set() const { return set_; }

 private:
  struct Item {
    int64_t picture;
    bool mirrored;
    std::string caption;
  };
  void finish(PictureBatch& batch, const std::vector<Item>& items, TextUse use) const;

  const data::ImageSet& set_;
  const DiffusionTrainOptions& options_;
  std::shared_ptr<models::UNet2DConditionModel> unet_;
  const Latents& latents_;
  TextStates& text_;
  TensorCache& cache_;
  TextUse use_;
};

/// The UNet's answer to `noisy` [B, …] at `timesteps`, float32.
at::Tensor predict(models::UNet2DConditionModel& unet, const at::Tensor& noisy, std::span<const double> timesteps,
                   const PictureBatch& batch);

/// Loss of a batch noised with `noise` at `timesteps`: per sample [B], and weighted and summed.
at::Tensor denoising_losses(models::UNet2DConditionModel& unet, const diffusion::DiffusionLoss& loss, const PictureBatch& batch,
                            const at::Tensor& noise, std::span<const double> timesteps);
diffusion::LossSum denoising_loss(models::UNet2DConditionModel& unet, const diffusion::DiffusionLoss& loss, const PictureBatch& batch,
                                  const diffusion::TrainingNoise& noise, std::span<const double> timesteps);

}  // namespace lowrank::train
