// LyCORIS's single file (lycoris/kohya.py, modules/*.py): kohya's names with the leaves of LoCon, LoHa, LoKr, full and norm
// differences, and dora_scale on either axis.
#include <algorithm>
#include <set>

#include "lowrank/adapters/dialects/kohya_metadata.h"
#include "lowrank/adapters/dialects/kohya_names.h"

namespace lowrank::adapters {

namespace {

bool is_own_leaf(std::string_view leaf) {
  return leaf.starts_with("hada_") || leaf.starts_with("lokr_") || leaf.starts_with("diff") || leaf == "w_norm" || leaf == "b_norm";
}

std::string algorithm(const AdapterRecord& record) {
  std::set<std::string> found;
  for (const auto& module : record.modules) found.insert(module.update == Update::lora ? "locon" : std::string(to_string(module.update)));
  found.erase(found.size() > 1 ? "full" : "");
  return found.size() == 1 ? *found.begin() : "";
}

Json network_args(const AdapterRecord& record) {
  Json args = Json::object();
  const auto any = [&](auto test) { return std::any_of(record.modules.begin(), record.modules.end(), test); };
  if (const std::string algo = algorithm(record); !algo.empty()) args["algo"] = algo;
  if (any([](const auto& m) { return m.axis != MagnitudeAxis::none; })) {
    args["dora_wd"] = "True";
    args["wd_on_output"] = any([](const auto& m) { return m.axis == MagnitudeAxis::input; }) ? "False" : "True";
  }
  if (any([](const auto& m) { return m.has("lora_mid") || m.has("lokr_t2") || m.has("hada_t1"); })) args["use_tucker"] = "True";
  if (any([](const auto& m) { return m.has("lokr_w1_a"); })) args["decompose_both"] = "True";
  return args;
}

class Lycoris : public Dialect {
 public:
  std::string_view name() const override { return "lycoris"; }
  std::string_view title() const override { return "LyCORIS single file"; }

  bool recognises(const Stored& stored) const override {
    if (stored.size() != 1 || !stored[0].config.is_null()) return false;
    const auto module = stored[0].metadata.find("ss_network_module");
    const bool says = module != stored[0].metadata.end() && module->second.starts_with("lycoris");
    return std::any_of(stored[0].tensors.begin(), stored[0].tensors.end(), [&](const auto& t) {
      return has_joined_name(t.first) && (says || t.first.starts_with("lycoris_") || is_own_leaf(leaf_of(t.first)));
    });
  }

  AdapterRecord read(Stored stored, const ReadContext& context) const override { return read_joined(std::move(stored.at(0)), context); }

  std::string refusal(const ModuleRecord& module, std::span<const ModuleRecord>) const override {
    if (module.component != "unet" && !module.component.starts_with("text_encoder"))
      return fmt::format("LyCORIS has no prefix for the layers of '{}'", module.component);
    const bool whole = module.update == Update::lokr && module.has("lokr_w1") && module.has("lokr_w2");
    if (whole && module.scale() != 1) return "LyCORIS gives LoKr of two whole factors the scale 1, whatever alpha says";
    return "";
  }

  Stored write(AdapterRecord& record, const WriteContext& context) const override {
    if (std::any_of(record.modules.begin(), record.modules.end(), [](const auto& m) { return m.axis == MagnitudeAxis::input; }))
      record.notes.emplace_back("dora_scale on the input axis: LyCORIS 3.2 and later cannot load it from a file; ComfyUI can");
    StoredPart part{"", joined_tensors(record, context), {}, {}};
    part.metadata = kohya_metadata(record, part.tensors, context, "lycoris.kohya", network_args(record));
    Stored stored;
    stored.push_back(std::move(part));
    return stored;
  }
};

}  // namespace

const Dialect& lycoris_dialect() {
  static const Lycoris dialect;
  return dialect;
}

}  // namespace lowrank::adapters
