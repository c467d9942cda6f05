// An encoder for pictures with its head, and what a picture must go through before it.
#pragma once

#include <array>

#include "lowrank/models/model.h"

namespace lowrank::models {

/// preprocessor_config.json of transformers' ViT: how a picture becomes a model's input.
struct ImageProcessor {
  int64_t height = 224, width = 224;
  bool resize = true;          // to height × width, its shape not kept
  int64_t resample = 2;        // PIL's number: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box, 5 Hamming
  double rescale = 1.0 / 255;  // 1 when the file says not to rescale
  std::array<double, 3> mean{0.5, 0.5, 0.5}, deviation{0.5, 0.5, 0.5};  // 0 and 1 when it says not to normalise
};

class ImageModel : public Model {
 public:
  /// States after the last layer and norm, [B, T, D]: the class token, then the patches row by row. With `first_token_only`
  /// only the class token is computed in the last layer: [B, D].
  virtual at::Tensor encode(const nn::Pictures& pictures, bool first_token_only = false) = 0;
  /// encode(batch, true).
  at::Tensor features(const Batch& batch) final;

  virtual std::array<int64_t, 2> image_size() const = 0;  // height and width of the pictures that it takes

  /// How pixels are normalised for it: as the folder says that it was loaded from, else to −1 … 1.
  const ImageProcessor& processor() const { return processor_; }
  /// Error{unsupported} for a processor of another size.
  void set_processor(const ImageProcessor& processor);

 private:
  ImageProcessor processor_;
};

/// load_model for a family that reads pictures; Error{unsupported} for another.
std::unique_ptr<ImageModel> load_image_model(const std::filesystem::path& folder, const HeadOptions& head,
                                             at::ScalarType dtype = at::kFloat);

/// Throws Error{io} when the folder has no such file, Error{file_format} for missing and mistyped keys and for a size by
/// the shortest edge, Error{unsupported} for crops and padding; names unknown keys in a warning.
ImageProcessor stored_image_processor(const std::filesystem::path& folder);

/// The file's content, as transformers reads it.
Json to_json(const ImageProcessor& processor);

/// pixels uint8 [B, H, W, 3] (sRGB) → (rescale·x − mean) / deviation, float32 [B, 3, H, W], on the pixels' device. Throws
/// Error{shape} for other shapes and Error{invalid_argument} for other dtypes. Resizing is the caller's.
at::Tensor normalise_pixels(const at::Tensor& pixels, const ImageProcessor& processor);

}  // namespace lowrank::models
