#include "lowrank/adapters/dialects/kohya_metadata.h"

#include <algorithm>
#include <set>

#include "lowrank/base/hash.h"
#include "lowrank/io/formats/safetensors.h"
#include "lowrank/tensor/dtype.h"

namespace lowrank::adapters {

namespace {

constexpr size_t kWindowBegin = 0x100000, kWindowEnd = 0x110000;

// Numbers as Python's str() writes them: "8", "0.5".
std::string number_text(double value) {
  const auto whole = static_cast<int64_t>(value);
  return static_cast<double>(whole) == value ? fmt::format("{}", whole) : fmt::format("{}", value);
}

// "Dynamic" where modules differ, as kohya writes it.
template <class F>
std::string common(const AdapterRecord& record, F value) {
  std::set<std::string> seen;
  for (const auto& module : record.modules) {
    if (module.rank > 0) seen.insert(value(module));
  }
  return seen.size() == 1 ? *seen.begin() : seen.empty() ? "None" : "Dynamic";
}

void describe_model(io::Metadata& metadata, Family family, const std::string& title) {
  metadata.try_emplace("ss_v2", "False");
  metadata.try_emplace("modelspec.sai_model_spec", "1.0.1");
  metadata.try_emplace("modelspec.title", title.empty() ? "adapter" : title);
  if (family == Family::unknown) return;
  const bool sdxl = family == Family::sdxl;
  metadata.try_emplace("ss_base_model_version", sdxl ? "sdxl_base_v1-0" : "sd_v1");
  metadata.try_emplace("modelspec.architecture", sdxl ? "stable-diffusion-xl-v1-base/lora" : "stable-diffusion-v1/lora");
  metadata.try_emplace("modelspec.implementation", sdxl ? "https://github.com/Stability-AI/generative-models" : "diffusers");
  metadata.try_emplace("modelspec.resolution", sdxl ? "1024x1024" : "512x512");
}

// Feeds hashes with the bytes that a file of these tensors would have.
struct Serialised {
  Sha256 body, window;
  size_t offset = 0;

  void add(std::span<const std::byte> bytes, bool in_body) {
    if (in_body) body.update(bytes);
    const size_t begin = std::clamp(kWindowBegin, offset, offset + bytes.size()),
                 end = std::clamp(kWindowEnd, offset, offset + bytes.size());
    window.update(bytes.subspan(begin - offset, end - begin));
    offset += bytes.size();
  }
};

}  // namespace

KohyaHashes kohya_hashes(const tensor::TensorMap& tensors, const io::Metadata& metadata) {
  io::Metadata training;
  for (const auto& [key, value] : metadata) {
    if (key.starts_with("ss_")) training[key] = value;
  }
  std::vector<at::Tensor> alive;
  std::vector<io::TensorOut> out;
  for (const auto& [name, value] : tensors) {
    alive.push_back(value.contiguous());
    const at::Tensor& t = alive.back();
    out.push_back({name, tensor::to_io(t.scalar_type()), t.sizes().vec(), {static_cast<const std::byte*>(t.const_data_ptr()), t.nbytes()}});
  }
  Serialised file;
  const std::string header = io::safetensors_header(out, training, "hash");
  file.add(std::as_bytes(std::span(header)), false);
  for (const auto& t : out) file.add(t.bytes, true);
  return {file.body.hex(), file.window.hex().substr(0, 8)};
}

io::Metadata kohya_metadata(const AdapterRecord& record, const tensor::TensorMap& tensors, const WriteContext& context,
                            std::string_view network_module, const Json& network_args) {
  io::Metadata metadata;
  for (const auto& [key, value] : record.metadata) {
    if (key.starts_with("ss_") || key.starts_with("modelspec.")) metadata[key] = value;
  }
  describe_model(metadata, family_of(record), context.title);
  const bool same_network = metadata.contains("ss_network_module") && metadata["ss_network_module"] == network_module;
  metadata["ss_network_module"] = network_module;
  metadata["ss_network_dim"] = common(record, [](const ModuleRecord& m) { return fmt::format("{}", m.rank); });
  metadata["ss_network_alpha"] = common(record, [](const ModuleRecord& m) { return number_text(m.scale() * static_cast<double>(m.rank)); });
  if (!same_network || !metadata.contains("ss_network_args")) {
    if (network_args.empty()) {
      metadata.erase("ss_network_args");
    } else {
      metadata["ss_network_args"] = network_args.dump();
    }
  }
  const auto [model, legacy] = kohya_hashes(tensors, metadata);
  metadata["sshs_model_hash"] = model;
  metadata["sshs_legacy_hash"] = legacy;
  return metadata;
}

}  // namespace lowrank::adapters
