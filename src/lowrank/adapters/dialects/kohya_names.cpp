#include "lowrank/adapters/dialects/kohya_names.h"

#include <ATen/ops/full.h>
#include <algorithm>
#include <array>
#include <cmath>

#include "lowrank/adapters/dialects/record_builder.h"
#include "lowrank/base/error.h"

namespace lowrank::adapters {

namespace {

struct Prefix {
  std::string_view text, component;
};
constexpr std::array kPrefixes = {Prefix{"lora_unet_", "unet"}, Prefix{"lora_te1_", "text_encoder"}, Prefix{"lora_te2_", "text_encoder_2"},
                                  Prefix{"lora_te_", "text_encoder"}, Prefix{"lycoris_", "unet"}};

// The first of several with one name of ours is the one that is written.
struct Leaf {
  std::string_view theirs, ours;
};
constexpr std::array kLeaves = {Leaf{"lora_down.weight", "lora_A"},
                                Leaf{"lora_up.weight", "lora_B"},
                                Leaf{"lora_mid.weight", "lora_mid"},
                                Leaf{"dora_scale", "lora_magnitude_vector"},
                                Leaf{"lora_A.weight", "lora_A"},
                                Leaf{"lora_B.weight", "lora_B"},
                                Leaf{"diff", "diff"},
                                Leaf{"diff_b", "diff_b"},
                                Leaf{"w_norm", "diff"},
                                Leaf{"b_norm", "diff_b"},
                                Leaf{"alpha", "alpha"}};

std::string ours_of(std::string_view leaf) {
  if (leaf.starts_with("lokr_") || leaf.starts_with("hada_")) return std::string(leaf);
  const auto* found = std::find_if(kLeaves.begin(), kLeaves.end(), [&](const Leaf& entry) { return entry.theirs == leaf; });
  return found == kLeaves.end() ? "" : std::string(found->ours);
}

std::string theirs_of(const std::string& name, const ModuleRecord& module) {
  const bool norm = module.update == Update::full && module.tensors.at("diff").dim() == 1;
  if (norm) return name == "diff" ? "w_norm" : "b_norm";
  const auto* found = std::find_if(kLeaves.begin(), kLeaves.end(), [&](const Leaf& entry) { return entry.ours == name; });
  return found == kLeaves.end() ? name : std::string(found->theirs);
}

std::string prefix_of(const std::string& component, bool sdxl) {
  if (component == "unet") return "lora_unet_";
  if (component == "text_encoder_2") return "lora_te2_";
  return sdxl ? "lora_te1_" : "lora_te_";
}

}  // namespace

bool has_joined_name(std::string_view key) {
  return std::any_of(kPrefixes.begin(), kPrefixes.end(), [&](const Prefix& prefix) { return key.starts_with(prefix.text); });
}

std::string_view leaf_of(std::string_view key) { return key.substr(std::min(key.find('.'), key.size() - 1) + 1); }

AdapterRecord read_joined(StoredPart part, const ReadContext& context) {
  const std::vector<const ModelLayout*> layouts =
      context.layout != nullptr ? std::vector{context.layout} : std::vector{&sd15_layout(), &sdxl_layout()};
  const NameTable names(layouts);
  RecordBuilder builder(context.where);
  for (const auto& [key, value] : part.tensors) {
    const auto* prefix = std::find_if(kPrefixes.begin(), kPrefixes.end(), [&](const Prefix& p) { return key.starts_with(p.text); });
    const std::string name = ours_of(leaf_of(key));
    if (prefix == kPrefixes.end() || name.empty()) {
      builder.unknown(key, prefix == kPrefixes.end() ? "no known prefix" : "no known tensor of an adapter");
      continue;
    }
    const std::string rest = key.substr(prefix->text.size(), key.find('.') - prefix->text.size());
    const KnownModule* module = names.find(std::string(prefix->component), rest);
    if (module == nullptr) {
      builder.unknown(key, context.layout != nullptr ? fmt::format("{} has no such layer", context.layout->title)
                                                     : "neither SD 1.5 nor SDXL has such a layer");
      continue;
    }
    builder.put(module->component, module->path, name, value);
  }
  int missing = 0;
  AdapterRecord record =
      builder.finish(std::move(part.metadata), [&](ModuleRecord& module, double alpha) { set_numbers(module, alpha, missing); });
  if (missing > 0) record.notes.push_back(fmt::format("alpha is missing or 0 in {} modules: taken as the rank, scale 1", missing));
  return record;
}

tensor::TensorMap joined_tensors(const AdapterRecord& record, const WriteContext& context) {
  const bool sdxl = family_of(record) == Family::sdxl;
  const auto originals =
      sdxl ? original_unet_names(context.layout != nullptr ? *context.layout : sdxl_layout()) : std::map<std::string, std::string>{};
  tensor::TensorMap tensors;
  for (const auto& module : record.modules) {
    std::string path = module.module;
    if (sdxl && module.component == "unet") {
      const auto found = originals.find(path);
      check(found != originals.end(), ErrorKind::unsupported, module.name(), "no sgm name is known for this layer of an SDXL UNet");
      path = found->second;
    }
    const std::string stem = prefix_of(module.component, sdxl) + joined(path) + ".";
    for (const auto& [name, value] : module.tensors) tensors[stem + theirs_of(name, module)] = value;
    if (module.update == Update::full) continue;
    const double alpha = module.rank == 0 ? module.alpha : module.scale() * static_cast<double>(module.rank);
    tensors[stem + "alpha"] = at::full({}, alpha, at::kFloat);
  }
  return tensors;
}

}  // namespace lowrank::adapters
