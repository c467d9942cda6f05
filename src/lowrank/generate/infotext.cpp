#include "lowrank/generate/infotext.h"

#include <algorithm>
#include <cstring>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/base/hash.h"
#include "lowrank/base/json.h"
#include "lowrank/diffusion/sampler.h"
#include "lowrank/io/tensor_file.h"

namespace lowrank::generate {

namespace fs = std::filesystem;

namespace {

std::vector<fs::path> safetensors_in(const fs::path& folder) {
  std::vector<fs::path> files;
  if (!fs::is_directory(folder)) return {folder};
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// As A1111 quotes a value: as it is, or as a JSON string when a comma, colon or line end would end it.
std::string quoted(const std::string& text) { return text.find_first_of(",\n:") == std::string::npos ? text : Json(text).dump(); }

}  // namespace

Infotext describe_sampling(const models::Pipeline& pipeline, const fs::path& model, const SampleOptions& options) {
  const auto config = diffusion::with_options(
      diffusion::parse_scheduler_config(pipeline.scheduler, model.string(), options.sampler.sampler), options.sampler);
  const auto [height, width] = picture_size(pipeline, options);
  return {.prompt = {},
          .negative = {},
          .steps = options.sampler.steps,
          .width = width,
          .height = height,
          .clip_skip = 0,
          .sampler = a1111_sampler(config.sampler),
          .karras = config.karras,
          .cfg = options.cfg,
          .seed = 0,
          .model = (model.has_filename() ? model : model.parent_path()).stem().string(),
          .model_hash = model_hash(model),
          .adapters = {},
          .adapter_hashes = {},
          .version = LOWRANK_VERSION};
}

std::string a1111_sampler(const std::string& sampler) {
  if (sampler == "euler_ancestral") return "Euler a";
  return std::string(diffusion::sampler_named(sampler).title);
}

std::string to_string(const Infotext& info) {
  std::string text = info.prompt, hashes;
  for (size_t i = 0; i < info.adapters.size(); ++i) {
    const AdapterUse& use = info.adapters[i];
    text += fmt::format("{}<lora:{}:{:g}>", text.empty() ? "" : " ", use.name(), use.weight);
    hashes += fmt::format("{}{}: {}", i > 0 ? ", " : "", use.name(), info.adapter_hashes.at(i));
  }
  if (!info.negative.empty()) text += "\nNegative prompt: " + info.negative;
  text += fmt::format("\nSteps: {}, Sampler: {}, Schedule type: {}, CFG scale: {:g}, Seed: {}, Size: {}x{}", info.steps, info.sampler,
                      info.karras ? "Karras" : "Automatic", info.cfg, info.seed, info.width, info.height);
  if (!info.model_hash.empty()) text += fmt::format(", Model hash: {}, Model: {}", info.model_hash, quoted(info.model));
  if (info.clip_skip > 0) text += fmt::format(", Clip skip: {}", info.clip_skip + 1);
  if (!hashes.empty()) text += fmt::format(", Lora hashes: {}", Json(hashes).dump());
  if (info.training_step >= 0) text += fmt::format(", Training step: {}", info.training_step);
  return text + fmt::format(", Version: lowrank {}", info.version);
}

std::string model_hash(const fs::path& model) {
  Sha256 sha;
  for (const fs::path& file : safetensors_in(fs::is_directory(model) ? model / "unet" : model)) sha.update(MappedFile(file).bytes());
  return sha.hex().substr(0, 10);
}

std::string adapter_hash(const fs::path& adapter) {
  Sha256 sha;
  for (const fs::path& file : safetensors_in(adapter)) {
    const auto metadata = io::TensorFile::open(file).metadata();
    if (const auto stored = metadata.find("sshs_model_hash"); stored != metadata.end()) return stored->second.substr(0, 12);
    const MappedFile mapped(file);
    uint64_t header = 0;
    std::memcpy(&header, mapped.bytes().data(), sizeof header);  // little endian, checked by open()
    sha.update(mapped.bytes().subspan(sizeof header + header));
  }
  return sha.hex().substr(0, 12);
}

}  // namespace lowrank::generate
