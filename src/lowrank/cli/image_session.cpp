#include "lowrank/cli/image_session.h"

#include <algorithm>

#include "lowrank/base/error.h"
#include "lowrank/io/tensor_file.h"
#include "lowrank/tensor/dtype.h"
#include "lowrank/tensor/runtime.h"

namespace lowrank::cli {

namespace fs = std::filesystem;

void declare(OptionTable& table, ImageModelOptions& options) {
  table.add("model", options.model, "diffusers folder, or an original checkpoint (.safetensors), of SD 1.x or SDXL").group("Model");
  table.add("adapter", options.adapters, "adapter FILE or FILE:WEIGHT in any naming that is known; may be given several times")
      .group("Model");
  table
      .add("block-weights", options.block_weights,
           "BLOCK=WEIGHT, a factor for a component or block of every adapter, as in unet.mid_block=0.5")
      .group("Model");
  table.add("device", options.device, "auto, cpu, cuda or cuda:N").group("Machine");
  table.add("dtype", options.dtype, "of weights and products").choices({"auto", "float32", "bfloat16", "float16"}).group("Machine");
  table.add("threads", options.threads, "of the CPU; 0: one a processor").range(0, 4096).group("Machine");
}

bool is_image_model(const std::string& model) {
  return fs::exists(fs::path(model) / "model_index.json") || (!model.empty() && fs::exists(model) && !fs::is_directory(model));
}

c10::ScalarType stored_dtype(const std::string& model) {
  std::vector<fs::path> files;
  if (fs::is_directory(model)) {
    for (const auto& entry : fs::directory_iterator(fs::path(model) / "unet")) {
      if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
    }
  } else {
    files.emplace_back(model);
  }
  std::sort(files.begin(), files.end());
  check(!files.empty(), ErrorKind::io, model, "expected safetensors in unet/, got none");
  const io::TensorFile file = io::TensorFile::open(files.front());
  for (const auto& view : file.tensors()) {
    const bool unet = fs::is_directory(model) || view.name.starts_with("model.diffusion_model.");
    const auto dtype = tensor::to_torch(view.dtype);
    if (unet && c10::isFloatingType(dtype)) return dtype;
  }
  return at::kFloat;
}

ImageSession open_image_session(const ImageModelOptions& options, c10::ScalarType dtype) {
  const std::string hint = "a diffusers folder (model_index.json, unet/, vae/, text_encoder/), or an original checkpoint in safetensors";
  if (options.model.empty()) fail(ErrorKind::invalid_argument, "--model", "expected an image model, got none", hint);
  if (!fs::exists(options.model))
    fail(ErrorKind::io, "--model", fmt::format("expected an image model, but there is no '{}'", options.model), hint);
  std::vector<generate::AdapterUse> uses;
  for (const std::string& text : options.adapters) uses.push_back(generate::parse_adapter_use(text));
  std::vector<generate::BlockWeight> blocks;
  for (const std::string& text : options.block_weights) blocks.push_back(generate::parse_block_weight(text));
  ImageSession session{models::load_pipeline(options.model, dtype), {}};
  const auto device = tensor::parse_device(options.device);
  for (const auto& [name, module] : generate::adaptable_components(session.pipeline)) module->to(device);
  session.pipeline.vae->to(device);
  session.adapters = generate::apply_adapters(session.pipeline, uses, blocks);
  return session;
}

void make_folder(const fs::path& folder) {
  std::error_code problem;
  fs::create_directories(folder, problem);
  check(!problem, ErrorKind::io, folder.string(), "expected to create the folder, got: {}", problem.message());
}

std::string adapters_text(const ImageSession& session) {
  std::string text;
  for (const auto& one : session.adapters) {
    text += fmt::format("adapter {} ({}): {} layers, weight {:g}\n", one.use.path.string(), one.dialect, one.modules, one.use.weight);
    for (const std::string& note : one.notes) text += fmt::format("note    {}\n", note);
  }
  return text;
}

}  // namespace lowrank::cli
