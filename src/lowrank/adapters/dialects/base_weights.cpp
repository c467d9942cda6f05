#include "lowrank/adapters/dialects/base_weights.h"

#include <algorithm>
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

BaseWeights::BaseWeights(const fs::path& model) : where_(model.string()), layout_{where_, where_, {}} {
  if (fs::is_directory(model)) {
    read_folder();
  } else {
    files_.push_back(io::TensorFile::open(model));
    read_checkpoint();
  }
  if (layout_.modules.empty()) {
    fail(ErrorKind::file_format, where_, "expected a diffusers folder or an original checkpoint, found no layer of a UNet or text encoder",
         fmt::format("a folder has unet/diffusion_pytorch_model.safetensors, a checkpoint tensors '{}…'", io::kLdmUNet));
  }
}

void BaseWeights::read_folder() {
  for (const std::string component : kComponents) {
    const fs::path folder = fs::path(where_) / component;
    const auto* file = std::ranges::find_if(kFiles, [&](const char* name) { return fs::exists(folder / name); });
    if (file == kFiles.end()) continue;
    files_.push_back(io::TensorFile::open(folder / *file));
    for (const auto& view : files_.back().tensors()) add(component, view.name, view, {files_.size() - 1, {view.name}});
  }
}

void BaseWeights::read_checkpoint() {
  std::vector<std::string> unet;
  for (const auto& view : files_[0].tensors()) {
    if (view.name.starts_with(io::kLdmUNet)) unet.push_back(view.name.substr(io::kLdmUNet.size()));
  }
  const io::LdmUNet numbering = io::original_numbering(unet);
  for (const std::string& name : unet) {
    const std::string stored = std::string(io::kLdmUNet) + name;
    add("unet", io::diffusers_unet_name(name, numbering), files_[0].at(stored), {0, {stored}});
  }
  for (const auto& view : files_[0].tensors()) {
    for (const std::string_view prefix : {io::kLdmText, io::kLdmTextXl}) {
      if (view.name.starts_with(prefix)) add("text_encoder", view.name.substr(prefix.size()), view, {0, {view.name}});
    }
  }
  read_open_clip();
}

void BaseWeights::read_open_clip() {
  const auto stored = [this](const std::string& name) { return files_[0].find(std::string(io::kLdmTextXl2) + name); };
  const io::TensorView *norm = stored("ln_final.weight"), *projection = stored("text_projection");
  if (norm == nullptr || norm->shape.size() != 1) return;
  int layers = 0;
  while (stored(fmt::format("transformer.resblocks.{}.ln_1.weight", layers)) != nullptr) ++layers;
  for (const auto& module : clip_modules("text_encoder_2", layers, norm->shape[0], projection != nullptr ? 1 : 0)) {
    const std::string parameter = module.path + std::string(kWeight);
    io::LdmTensor tensor = io::open_clip_name(parameter);
    if (const io::TensorView* view = stored(tensor.name)) add("text_encoder_2", parameter, *view, {0, {view->name, tensor.part}});
  }
}

void BaseWeights::add(const std::string& component, std::string_view parameter, const io::TensorView& view, Source source) {
  if (!parameter.ends_with(kWeight) || view.shape.empty() || view.shape[0] == 0) return;
  parameter.remove_suffix(kWeight.size());
  const std::string path = checkpoint_path(component, std::string(parameter));
  int64_t out = view.shape[0], columns = view.numel() / out;
  if (source.tensor.part == io::LdmPart::transposed) std::swap(out, columns);
  if (io::third_of(source.tensor.part) >= 0) out /= 3;
  layout_.modules.push_back({component, path, out, columns, view.shape.size() == 4 ? view.shape[2] : 0});
  sources_[{component, path}] = std::move(source);
}

at::Tensor BaseWeights::weight(const ModuleRecord& module) const {
  const auto found = sources_.find({module.component, module.module});
  check(found != sources_.end(), ErrorKind::file_format, where_, "expected weights of '{}', found none", module.name());
  const auto& [file, tensor] = found->second;
  return tensor::to_tensor(files_[file].at(tensor.name), tensor.part);
}

}  // namespace lowrank::adapters
