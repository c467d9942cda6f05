// kohya's single file (networks/lora.py): LoRA and LoCon under joined names. dora_scale and lora_mid are read by ComfyUI and A1111
// under the same names, though not by kohya's own scripts.
#include <algorithm>
#include <set>

#include "lowrank/adapters/dialects/kohya_metadata.h"
#include "lowrank/adapters/dialects/kohya_names.h"

namespace lowrank::adapters {

namespace {

bool is_convolution(const ModuleRecord& module) {
  const at::Tensor& a = module.tensors.at("lora_A");
  return a.dim() == 4 && (module.has("lora_mid") || a.size(2) * a.size(3) > 1);
}

// conv_dim and conv_alpha as kohya's arguments, which are text; left out where layers differ.
Json network_args(const AdapterRecord& record) {
  std::set<std::pair<int64_t, double>> seen;
  for (const auto& module : record.modules) {
    if (is_convolution(module)) seen.emplace(module.rank, module.scale() * static_cast<double>(module.rank));
  }
  Json args = Json::object();
  if (seen.size() != 1) return args;
  args["conv_dim"] = fmt::format("{}", seen.begin()->first);
  args["conv_alpha"] = fmt::format("{}", seen.begin()->second);
  return args;
}

class Kohya : public Dialect {
 public:
  std::string_view name() const override { return "kohya"; }
  std::string_view title() const override { return "kohya / A1111 single file"; }

  bool recognises(const Stored& stored) const override {
    return stored.size() == 1 && stored[0].config.is_null() &&
           std::any_of(stored[0].tensors.begin(), stored[0].tensors.end(), [](const auto& t) { return has_joined_name(t.first); });
  }

  AdapterRecord read(Stored stored, const ReadContext& context) const override { return read_joined(std::move(stored.at(0)), context); }

  std::string refusal(const ModuleRecord& module, std::span<const ModuleRecord>) const override {
    if (module.component != "unet" && !module.component.starts_with("text_encoder"))
      return fmt::format("kohya has no prefix for the layers of '{}'", module.component);
    if (module.update != Update::lora) return fmt::format("kohya has no names for {}", module.method());
    if (module.axis == MagnitudeAxis::input) return "kohya has no DoRA whose norm is over input channels";
    return "";
  }

  Stored write(AdapterRecord& record, const WriteContext& context) const override {
    if (std::any_of(record.modules.begin(), record.modules.end(), [](const auto& m) { return m.axis != MagnitudeAxis::none; }))
      record.notes.emplace_back(
          "dora_scale: LyCORIS and ComfyUI apply it; kohya's own scripts do not, and diffusers drops it with a warning");
    std::set<double> alphas;
    for (const auto& module : record.modules) alphas.insert(module.scale() * static_cast<double>(module.rank));
    if (alphas.size() > 1)
      record.notes.emplace_back(
          "layers have different alphas: diffusers takes the commonest for all attention layers of a kohya file; "
          "write diffusers files for it");
    StoredPart part{"", joined_tensors(record, context), {}, {}};
    part.metadata = kohya_metadata(record, part.tensors, context, "networks.lora", network_args(record));
    Stored stored;
    stored.push_back(std::move(part));
    return stored;
  }
};

}  // namespace

const Dialect& kohya_dialect() {
  static const Kohya dialect;
  return dialect;
}

}  // namespace lowrank::adapters
