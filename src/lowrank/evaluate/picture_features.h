// How far two pictures are apart: by their pixels, and by what a network makes of them. Lower is better.
#pragma once

#include <ATen/core/Tensor.h>
#include <memory>
#include <string>

#include "lowrank/models/diffusion/autoencoder_kl.h"
#include "lowrank/models/image_model.h"

namespace lowrank::evaluate {

/// √mean((a − b)²) over channels and pixels of each picture [B, 3, H, W] in [0, 1]: [B], float32 on the CPU. Error{shape} for other shapes.
at::Tensor pixel_distances(const at::Tensor& a, const at::Tensor& b);

/// Pictures as points.
class PictureFeatures {
 public:
  virtual ~PictureFeatures() = default;
  /// [B, 3, H, W] in [0, 1] → [B, D], float32 on the CPU; D may depend on the size.
  virtual at::Tensor of(const at::Tensor& pictures) = 0;
  /// Of each row of a and b [B, D]: [B].
  virtual at::Tensor distances(const at::Tensor& a, const at::Tensor& b) const = 0;
  /// What a distance is, as a sentence for reports.
  virtual std::string explanation() const = 0;
};

/// Means of the autoencoder's latents, scaled as a UNet sees them; their distance is √mean(difference²).
std::unique_ptr<PictureFeatures> latent_features(std::shared_ptr<models::AutoencoderKL> vae);

/// States of the class token after the last layer and norm; their distance is 1 − cosine. Pictures of another size than the model's are
/// scaled to it without keeping their shape. `name` says which model it is.
std::unique_ptr<PictureFeatures> class_token_features(std::unique_ptr<models::ImageModel> model, const std::string& name);

}  // namespace lowrank::evaluate
