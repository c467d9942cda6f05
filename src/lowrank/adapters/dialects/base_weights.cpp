#include "lowrank/adapters/dialects/base_weights.h"

#include <array>

#include "lowrank/adapters/dialects/peft_numbers.h"
#include "lowrank/base/error.h"

namespace lowrank::adapters {

namespace fs = std::filesystem;

namespace {

constexpr std::array kComponents = {"unet", "text_encoder", "text_encoder_2"};
constexpr std::array kFiles = {"diffusion_pytorch_model.safetensors", "model.safetensors", "diffusion_pytorch_model.safetensors.index.json",
                               "model.safetensors.index.json"};
constexpr std::string_view kWeight = ".weight";

}  // namespace

BaseWeights::BaseWeights(const fs::path& folder) : folder_(folder), layout_{folder.string(), folder.string(), {}} {
  for (const std::string component : kComponents) {
    for (const auto* file : kFiles) {
      if (!files_.contains(component) && fs::exists(folder / component / file))
        files_.emplace(component, io::TensorFile::open(folder / component / file));
    }
  }
  check(!files_.empty(), ErrorKind::file_format, folder.string(),
        "expected a diffusers folder with unet/diffusion_pytorch_model.safetensors or text_encoder/model.safetensors, found neither");
  for (const auto& [component, file] : files_) {
    for (const auto& view : file.tensors()) {
      if (!view.name.ends_with(kWeight) || view.shape.empty()) continue;
      const std::string path = checkpoint_path(component, view.name.substr(0, view.name.size() - kWeight.size()));
      const int64_t out = view.shape[0], columns = out == 0 ? 0 : view.numel() / out;
      layout_.modules.push_back({component, path, out, columns, view.shape.size() == 4 ? view.shape[2] : 0});
      tensor_names_[{component, path}] = view.name;
    }
  }
}

at::Tensor BaseWeights::weight(const ModuleRecord& module) const {
  const auto found = tensor_names_.find({module.component, module.module});
  check(found != tensor_names_.end(), ErrorKind::file_format, folder_.string(), "expected weights of '{}', found none", module.name());
  return tensor::to_tensor(files_.at(module.component).at(found->second));
}

}  // namespace lowrank::adapters
