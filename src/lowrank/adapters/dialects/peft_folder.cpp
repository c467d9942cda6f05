// PEFT folders, one a component: adapter_config.json and adapter_model.safetensors, as dialects/peft.h reads and writes them for a
// live model; here for records.
#include "lowrank/adapters/dialects/dialect.h"
#include "lowrank/adapters/dialects/peft.h"
#include "lowrank/adapters/dialects/peft_numbers.h"
#include "lowrank/adapters/dialects/record_builder.h"

namespace lowrank::adapters {

namespace {

constexpr std::string_view kPrefix = "base_model.model.";

bool has_component_name(const std::string& name) { return name == "unet" || name.starts_with("text_encoder") || name == "transformer"; }

// A bare folder does not say which part of a pipeline it is for.
std::string component_of(const StoredPart& part, const ReadContext& context) {
  if (!context.component.empty()) return context.component;
  if (has_component_name(part.folder)) return part.folder;
  for (const auto& [key, value] : part.tensors) {
    const std::string_view name = std::string_view(key).substr(std::min(key.size(), kPrefix.size()));
    if (name.starts_with("down_blocks.") || name.starts_with("up_blocks.") || name.starts_with("mid_block.")) return "unet";
    if (name.starts_with("text_model.") || name.find(".self_attn.out_proj.") != std::string_view::npos) return "text_encoder";
  }
  return "";
}

bool is_adapter_tensor(std::string_view name) { return name.starts_with("lora_") || name.starts_with("lokr_"); }

void read_part(RecordBuilder& builder, const StoredPart& part, const PeftFolder& folder, const std::string& component) {
  for (const auto& [key, value] : part.tensors) {
    if (key.find(".lora_embedding_") == std::string::npos) continue;
    builder.unknown(key, "an adapter on an embedding, which only PEFT folders can say");
  }
  for (const auto& [name, value] : folder.tensors) {
    const size_t dot = name.rfind('.');
    const std::string module = name.substr(0, std::min(dot, name.size())), tensor = dot == std::string::npos ? "" : name.substr(dot + 1);
    if (!is_adapter_tensor(tensor)) {
      builder.unknown(name, "a bias or a layer trained in full, which only PEFT folders can say");
      continue;
    }
    const bool magnitude = tensor == "lora_magnitude_vector";
    builder.put(component, checkpoint_path(component, module), tensor, magnitude ? magnitude_from_peft(value) : value);
  }
}

class PeftFolders : public Dialect {
 public:
  std::string_view name() const override { return "peft"; }
  std::string_view title() const override { return "PEFT folder"; }

  bool recognises(const Stored& stored) const override { return !stored.empty() && !stored[0].config.is_null(); }

  AdapterRecord read(Stored stored, const ReadContext& context) const override {
    RecordBuilder builder(context.where);
    std::map<std::string, AdapterConfig> configs;
    for (const auto& part : stored) {
      const PeftFolder folder = read_peft(std::filesystem::path(context.where) / part.folder);
      const std::string component = component_of(part, context);
      check(configs.emplace(component, folder.spelled).second, ErrorKind::file_format, context.where,
            "expected one folder for '{}', got two", component);
      read_part(builder, part, folder, component);
    }
    return builder.finish({}, [&](ModuleRecord& module, double) { set_peft_numbers(module, configs.at(module.component), context.where); });
  }

  std::string refusal(const ModuleRecord& module, std::span<const ModuleRecord> component) const override {
    return peft_refusal(module, component);
  }

  Stored write(AdapterRecord& record, const WriteContext&) const override {
    Stored stored;
    for (const auto component : components_of(record)) {
      StoredPart part{component.front().component, {}, {{"format", "pt"}}, peft_config_of(component)};
      for (const auto& module : component) {
        for (const auto& [name, value] : module.tensors) {
          const bool weight = name == "lora_A" || name == "lora_B";
          part.tensors[fmt::format("{}{}.{}{}", kPrefix, module.module, name, weight ? ".weight" : "")] =
              name == "lora_magnitude_vector" ? peft_magnitude(value) : value;
        }
      }
      stored.push_back(std::move(part));
    }
    return stored;
  }
};

}  // namespace

const Dialect& peft_folder_dialect() {
  static const PeftFolders dialect;
  return dialect;
}

}  // namespace lowrank::adapters
