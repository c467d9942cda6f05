// The weights of a pipeline's components by layer, read straight from its files: what a conversion of DoRA, and names that no
// built-in list has, need of a model.
#pragma once

#include <filesystem>

#include "lowrank/adapters/dialects/layout.h"

namespace lowrank::adapters {

class BaseWeights {
 public:
  /// A diffusers folder (unet/, text_encoder/, text_encoder_2/, each with safetensors). Throws Error{file_format} when there is none.
  explicit BaseWeights(const std::filesystem::path& folder);

  const ModelLayout& layout() const { return layout_; }
  /// As stored. Throws Error{file_format} for a layer that the model lacks.
  at::Tensor weight(const ModuleRecord& module) const;

 private:
  std::filesystem::path folder_;
  std::map<std::string, io::TensorFile> files_;                              // by component
  std::map<std::pair<std::string, std::string>, std::string> tensor_names_;  // (component, path) → tensor
  ModelLayout layout_;
};

}  // namespace lowrank::adapters
