// The weights of a pipeline's components by layer, read straight from its files: what a conversion of DoRA, and names that no
// built-in list has, need of a model.
#pragma once

#include <filesystem>

#include "lowrank/adapters/dialects/layout.h"
#include "lowrank/io/names/ldm.h"

namespace lowrank::adapters {

class BaseWeights {
 public:
  /// A diffusers folder (unet/, text_encoder/, text_encoder_2/, each with safetensors), or an original checkpoint of SD 1.x or SDXL.
  /// Throws Error{file_format} when it is neither, and what io::TensorFile::open throws.
  explicit BaseWeights(const std::filesystem::path& model);

  const ModelLayout& layout() const { return layout_; }
  /// In the model's shape and as stored. Throws Error{file_format} for a layer that the model lacks.
  at::Tensor weight(const ModuleRecord& module) const;

 private:
  struct Source {
    size_t file;
    io::LdmTensor tensor;
  };

  void read_folder();
  void read_checkpoint();
  /// CLIPTextModelWithProjection under OpenCLIP's names.
  void read_open_clip();
  /// `parameter` as the model names it; those that are no layer's weight are passed over.
  void add(const std::string& component, std::string_view parameter, const io::TensorView& view, Source source);

  std::string where_;
  std::vector<io::TensorFile> files_;
  std::map<std::pair<std::string, std::string>, Source> sources_;  // (component, path) → tensor
  ModelLayout layout_;
};

}  // namespace lowrank::adapters
