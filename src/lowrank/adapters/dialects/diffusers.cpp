// diffusers' single file (loaders/lora_pipeline.py, utils/state_dict_utils.py of 0.42.1): "<component>.<path>.lora_A.weight", with
// PEFT's configuration of every component in the metadata key lora_adapter_metadata; and the older spellings, for reading.
#include <algorithm>
#include <array>

#include "lowrank/adapters/dialects/dialect.h"
#include "lowrank/adapters/dialects/peft_config.h"
#include "lowrank/adapters/dialects/peft_numbers.h"
#include "lowrank/adapters/dialects/record_builder.h"

namespace lowrank::adapters {

namespace {

constexpr const char* kMetadataKey = "lora_adapter_metadata";

struct Suffix {
  std::string_view theirs, ours;
};
// Longest first, where one ends with another.
constexpr std::array kSuffixes = {Suffix{".lora_linear_layer.down.weight", "lora_A"},
                                  Suffix{".lora_linear_layer.up.weight", "lora_B"},
                                  Suffix{".lora.down.weight", "lora_A"},
                                  Suffix{".lora.up.weight", "lora_B"},
                                  Suffix{"_lora.down.weight", "lora_A"},
                                  Suffix{"_lora.up.weight", "lora_B"},
                                  Suffix{".lora_A.weight", "lora_A"},
                                  Suffix{".lora_B.weight", "lora_B"},
                                  Suffix{".lora_magnitude_vector", "lora_magnitude_vector"},
                                  Suffix{".alpha", "alpha"}};

void replace(std::string& text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  if (at != std::string::npos) text.replace(at, from.size(), to);
}

// Old attention processors called a layer "to_out", and a text encoder's layers as a UNet's.
std::string path_of(const std::string& component, std::string path, bool processor) {
  replace(path, ".processor", "");
  const bool text = component.starts_with("text_encoder");
  if (path.ends_with(".to_out")) path += text ? "" : ".0";
  if (text && processor) {
    for (const auto* name : {"q", "k", "v", "out"}) {
      if (path.ends_with(fmt::format(".to_{}", name))) replace(path, fmt::format(".to_{}", name), fmt::format(".{}_proj", name));
    }
  }
  return checkpoint_path(component, path);
}

std::string component_of(const std::string& key) {
  for (const auto* name : {"unet", "text_encoder", "text_encoder_2", "text_encoder_3", "transformer"}) {
    if (key.starts_with(std::string(name) + ".")) return name;
  }
  const bool bare = key.starts_with("down_blocks.") || key.starts_with("mid_block.") || key.starts_with("up_blocks.");
  return bare ? "unet" : "";  // files of single attention processors name no component
}

bool put(RecordBuilder& builder, const std::string& key, const at::Tensor& value) {
  const std::string component = component_of(key);
  if (component.empty()) return false;
  const std::string rest = key.starts_with(component + ".") ? key.substr(component.size() + 1) : key;
  if (const size_t dot = rest.rfind(".lokr_"); dot != std::string::npos) {
    builder.put(component, path_of(component, rest.substr(0, dot), false), rest.substr(dot + 1), value);
    return true;
  }
  for (const auto& [theirs, ours] : kSuffixes) {
    if (!rest.ends_with(theirs)) continue;
    const bool processor = theirs.starts_with("_lora");
    const std::string path = path_of(component, rest.substr(0, rest.size() - theirs.size()), processor);
    builder.put(component, path, std::string(ours), ours == "lora_magnitude_vector" ? magnitude_from_peft(value) : value);
    return true;
  }
  return false;
}

// "unet.r": 8, … → the configuration of each component; a file of one component may leave the prefix out.
std::map<std::string, AdapterConfig> read_configs(const io::Metadata& metadata, std::string_view where) {
  const auto found = metadata.find(kMetadataKey);
  if (found == metadata.end()) return {};
  const Json all = parse_json(found->second, fmt::format("{} {}", where, kMetadataKey));
  std::map<std::string, Json> parts;
  for (const auto& [key, value] : all.items()) {
    const std::string component = component_of(key);
    parts[component][component.empty() ? key : key.substr(component.size() + 1)] = value;
  }
  std::map<std::string, AdapterConfig> configs;
  for (const auto& [component, json] : parts) {
    configs.emplace(component.empty() ? "unet" : component, parse_peft_config(json, fmt::format("{} {}", where, kMetadataKey)).config);
  }
  return configs;
}

class Diffusers : public Dialect {
 public:
  std::string_view name() const override { return "diffusers"; }
  std::string_view title() const override { return "diffusers single file"; }

  bool recognises(const Stored& stored) const override {
    if (stored.size() != 1 || !stored[0].config.is_null()) return false;
    return std::any_of(stored[0].tensors.begin(), stored[0].tensors.end(), [](const auto& t) {
      return !component_of(t.first).empty() && (t.first.find("lora") != std::string::npos || t.first.find(".lokr_") != std::string::npos);
    });
  }

  AdapterRecord read(Stored stored, const ReadContext& context) const override {
    const auto configs = read_configs(stored.at(0).metadata, context.where);
    RecordBuilder builder(context.where);
    for (const auto& [key, value] : stored[0].tensors) {
      if (!put(builder, key, value)) builder.unknown(key, "no known tensor of an adapter");
    }
    int missing = 0;
    AdapterRecord record = builder.finish(std::move(stored[0].metadata), [&](ModuleRecord& module, double alpha) {
      const auto config = configs.find(module.component);
      if (config == configs.end()) {
        set_numbers(module, alpha, missing);
      } else {
        set_peft_numbers(module, config->second, context.where);
      }
    });
    if (missing > 0)
      record.notes.push_back(fmt::format("alpha is missing in {} modules: taken as the rank, scale 1, as diffusers does", missing));
    return record;
  }

  std::string refusal(const ModuleRecord& module, std::span<const ModuleRecord> component) const override {
    if (component_of(module.component + ".").empty()) return fmt::format("diffusers has no component '{}'", module.component);
    // unet.load_lora_adapter() would take it.
    if (module.update == Update::lokr) return "the load_lora_weights of Stable Diffusion's pipelines takes no LoKr";
    return peft_refusal(module, component);
  }

  Stored write(AdapterRecord& record, const WriteContext&) const override {
    const auto text_dora = [](const auto& m) { return m.axis != MagnitudeAxis::none && m.component != "unet"; };
    if (std::any_of(record.modules.begin(), record.modules.end(), text_dora))
      record.notes.emplace_back(
          "DoRA in text encoders: diffusers 0.42.1 with transformers 5.23 leaves their magnitudes uninitialised, of its own "
          "files too; the PEFT folder loads right");
    StoredPart part{"", {}, {{"format", "pt"}}, {}};
    std::map<std::string, Json> numbers;  // sorted, as diffusers writes them
    for (const auto component : components_of(record)) {
      const std::string& name = component.front().component;
      const Json config = peft_config_of(component);
      for (const auto& [key, value] : config.items()) numbers[name + "." + key] = value;
      for (const auto& module : component) {
        for (const auto& [tensor, value] : module.tensors) {
          const bool weight = tensor == "lora_A" || tensor == "lora_B";
          part.tensors[fmt::format("{}.{}{}", module.name(), tensor, weight ? ".weight" : "")] =
              tensor == "lora_magnitude_vector" ? peft_magnitude(value) : value;
        }
      }
    }
    part.metadata[kMetadataKey] = Json(numbers).dump(2);
    Stored stored;
    stored.push_back(std::move(part));
    return stored;
  }
};

}  // namespace

const Dialect& diffusers_dialect() {
  static const Diffusers dialect;
  return dialect;
}

}  // namespace lowrank::adapters
