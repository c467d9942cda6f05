// Pictures drawn for captions whose true pictures are known, and how far they are from them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "lowrank/data/images/image_set.h"
#include "lowrank/evaluate/picture_features.h"
#include "lowrank/generate/sampling.h"
#include "lowrank/study/kind.h"

namespace lowrank::study {

struct DrawOptions {
  generate::SampleOptions sample;  // height and width are not looked at: a picture has its true one's
  std::string negative;
  int64_t clip_skip = 0;
  int64_t seed = 1;    // of the first picture of a set; the i-th has seed + i, whatever draws it
  int64_t batch = 16;  // pictures at once
};

/// Adds the groups "Sampling" and "Test" to `table`.
void declare(OptionTable& table, DrawOptions& options);

/// Captions, as training would show them, and the pictures they belong to.
struct DrawingSet {
  std::vector<std::string> captions;
  std::vector<data::Size> sizes;  // to draw in
  std::vector<at::Tensor> truth;  // [3, H, W] in [0, 1], cut to its bucket; empty where nobody knows
  int64_t size() const { return static_cast<int64_t>(captions.size()); }
};
DrawingSet drawing_set(const data::ImageSet& set, const data::ImageDataOptions& options);

/// What the text encoders say of every caption, one after the other.
std::vector<generate::Conditions> encode_captions(const generate::PromptEncoder& encoder, const std::vector<std::string>& captions,
                                                  const std::string& negative);

/// A picture [3, H, W] for every caption, of its size; the noise of the i-th is that of seed `first_seed` + i. Batches are of
/// one size and one length of text. Throws what generate::denoise throws.
std::vector<at::Tensor> draw(const models::Pipeline& pipeline, const DrawingSet& set, const std::vector<generate::Conditions>& conditions,
                             const DrawOptions& options, int64_t first_seed, const RunHooks& hooks);

/// What the autoencoder makes of the true pictures: decoded means of their latents. No adapter of a UNet comes closer but by luck.
std::vector<at::Tensor> reconstruct(const models::Pipeline& pipeline, const std::vector<at::Tensor>& pictures, int64_t batch);

/// [D] of each picture.
std::vector<at::Tensor> features_of(evaluate::PictureFeatures& features, const std::vector<at::Tensor>& pictures, int64_t batch);

/// Distances of each pair.
std::vector<double> pixel_distances(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b);
std::vector<double> feature_distances(const evaluate::PictureFeatures& features, const std::vector<at::Tensor>& a,
                                      const std::vector<at::Tensor>& b);

/// A picture [3, H, W] in [0, 1] as a PNG file; its folder is made if need be.
void write_drawing(const std::filesystem::path& file, const at::Tensor& picture);

}  // namespace lowrank::study
