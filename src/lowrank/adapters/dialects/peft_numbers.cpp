#include "lowrank/adapters/dialects/peft_numbers.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "lowrank/adapters/dialects/peft_keys.h"
#include "lowrank/adapters/lokr.h"
#include "lowrank/adapters/lora.h"
#include "lowrank/base/error.h"

namespace lowrank::adapters {

namespace {

using Modules = std::span<const ModuleRecord>;

constexpr std::string_view kText = "text_model.";

// W1 [l, m] and W2 [k, n] without the taps, and which are products.
struct Sides {
  int64_t l, m, k, n;
  bool factored_w1, factored_w2;
};

// Taps of a convolution's flattened w2_b can only be told by the layer's name.
bool is_three_by_three(const ModuleRecord& module) {
  const std::string last = module.module.substr(module.module.rfind('.') + 1);
  return last == "conv" || last == "conv1" || last == "conv2" || last == "conv_in" || last == "conv_out";
}

Sides sides_of(const ModuleRecord& module) {
  const auto size = [&](const std::string& name, int64_t dim) { return module.tensors.at(name).size(dim); };
  Sides s{};
  s.factored_w1 = !module.has("lokr_w1");
  s.factored_w2 = !module.has("lokr_w2");
  s.l = s.factored_w1 ? size("lokr_w1_a", 0) : size("lokr_w1", 0);
  s.m = s.factored_w1 ? size("lokr_w1_b", 1) : size("lokr_w1", 1);
  s.k = s.factored_w2 ? size("lokr_w2_a", 0) : size("lokr_w2", 0);
  s.n = s.factored_w2 ? size("lokr_w2_b", 1) : size("lokr_w2", 1);
  if (module.has("lokr_t2")) s.k = size("lokr_w2_a", 1);
  if (s.factored_w2 && !module.has("lokr_t2") && is_three_by_three(module) && s.n % 9 == 0) s.n /= 9;
  return s;
}

// The decompose_factor from which PEFT gets these sizes in every module.
std::optional<int64_t> common_factor(Modules modules) {
  std::set<int64_t> candidates = {-1};
  for (const auto& module : modules) candidates.insert(sides_of(module).l);
  for (const int64_t factor : candidates) {
    const bool fits = std::all_of(modules.begin(), modules.end(), [&](const auto& module) {
      const Sides s = sides_of(module);
      const Factors out = factorize(s.l * s.k, factor), in = factorize(s.m * s.n, factor);
      return out.outer == s.l && in.outer == s.m;
    });
    if (fits) return factor;
  }
  return std::nullopt;
}

bool decomposes_both(Modules modules) {
  return std::any_of(modules.begin(), modules.end(), [](const auto& module) { return module.has("lokr_w1_a"); });
}

// A rank from which PEFT makes the same factors whole.
int64_t lokr_rank(const ModuleRecord& module) {
  const Sides s = sides_of(module);
  return s.factored_w1 || s.factored_w2 ? module.rank : std::max({s.l, s.m, s.k, s.n});
}

std::string lokr_refusal(const ModuleRecord& module, Modules component) {
  if (module.axis != MagnitudeAxis::none) return "PEFT has no DoRA on LoKr";
  if (module.has("lokr_t2")) return "PEFT has one choice for all convolutions between LoKr with and without a core";
  if (!common_factor(component)) return "PEFT cannot get these factors' sizes from one decompose_factor";
  const Sides s = sides_of(module);
  const double rank = static_cast<double>(lokr_rank(module));
  const bool w1 = decomposes_both(component) && rank < static_cast<double>(std::max(s.l, s.m)) / 2;
  const bool w2 = rank < static_cast<double>(std::max(s.k, s.n)) / 2;
  return w1 == s.factored_w1 && w2 == s.factored_w2 ? "" : "PEFT would make other factors whole at this rank";
}

std::string short_path(const ModuleRecord& module) {
  const bool text = module.component.starts_with("text_encoder") && module.module.starts_with(kText);
  return text ? module.module.substr(kText.size()) : module.module;
}

Json whole_if_possible(double value) {
  const auto whole = static_cast<int64_t>(value);
  return static_cast<double>(whole) == value ? Json(whole) : Json(value);
}

// The commonest value, and the others by module.
void set_pattern(Json& config, const char* key, const char* pattern_key, Modules modules, const std::vector<double>& values) {
  std::map<double, int> counts;
  for (const double value : values) ++counts[value];
  const double common =
      std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second < b.second; })->first;
  config[key] = whole_if_possible(common);
  config[pattern_key] = Json::object();
  for (size_t i = 0; i < modules.size(); ++i) {
    if (values[i] == common) continue;
    const std::string start = modules[i].component == "unet" ? "^" : "";
    config[pattern_key][start + short_path(modules[i])] = whole_if_possible(values[i]);
  }
}

}  // namespace

std::string peft_refusal(const ModuleRecord& module, Modules component) {
  const bool lokr = std::any_of(component.begin(), component.end(), [](const auto& m) { return m.update == Update::lokr; });
  if (module.axis == MagnitudeAxis::input) return "PEFT has no DoRA whose norm is over input channels";
  if (module.update == Update::lokr) {
    const bool alone = std::all_of(component.begin(), component.end(), [](const auto& m) { return m.update == Update::lokr; });
    return alone ? lokr_refusal(module, component) : "PEFT has one method a component, and other layers are no LoKr";
  }
  if (module.update != Update::lora) return fmt::format("PEFT has no place for {} here", module.method());
  if (lokr) return "";  // the LoKr modules are those to rewrite
  if (module.has("lora_mid")) return "PEFT has no Tucker core";
  const auto has_magnitude = [](const auto& m) { return m.axis != MagnitudeAxis::none; };
  if (!has_magnitude(module) && std::any_of(component.begin(), component.end(), has_magnitude))
    return "PEFT has DoRA for all layers of a component or for none";
  return "";
}

Json peft_config_of(Modules modules) {
  const bool lokr = modules.front().update == Update::lokr;
  Json config = peft_defaults(lokr ? "LOKR" : "LORA");
  const bool rslora = std::all_of(modules.begin(), modules.end(), [](const auto& m) { return m.rule == ScaleRule::alpha_over_root_rank; });
  std::vector<double> ranks, alphas;
  std::vector<std::string> targets;
  for (const auto& module : modules) {
    const auto rank = static_cast<double>(lokr ? lokr_rank(module) : module.rank);
    ranks.push_back(rank);
    const bool as_is = rslora || (module.rule == ScaleRule::alpha_over_rank && rank == static_cast<double>(module.rank));
    alphas.push_back(as_is ? module.alpha : module.scale() * rank);
    targets.push_back(short_path(module));
  }
  set_pattern(config, "r", "rank_pattern", modules, ranks);
  set_pattern(config, lokr ? "alpha" : "lora_alpha", "alpha_pattern", modules, alphas);
  config["target_modules"] = targets;
  config["inference_mode"] = true;
  config["peft_version"] = kPeftVersion;
  if (lokr) {
    config["decompose_factor"] = common_factor(modules).value();
    config["decompose_both"] = decomposes_both(modules);
  } else {
    config["use_rslora"] = rslora;
    config["use_dora"] = modules.front().axis != MagnitudeAxis::none;
  }
  return config;
}

void set_peft_numbers(ModuleRecord& module, const AdapterConfig& config, std::string_view where) {
  const ModuleOptions options = config.for_module(module.module, {});  // PEFT has no other rank for convolutions
  check(module.rank == 0 || module.rank == options.rank, ErrorKind::file_format, where,
        "'{}': rank {} by its tensors, {} by the configuration", module.name(), module.rank, options.rank);
  module.rank = options.rank;
  module.alpha = options.alpha;
  const auto* lora = dynamic_cast<const LoraOptions*>(config.options.get());
  module.rule = lora != nullptr && lora->rslora ? ScaleRule::alpha_over_root_rank : ScaleRule::alpha_over_rank;
}

std::string checkpoint_path(const std::string& component, const std::string& path) {
  const bool bare = path.starts_with("encoder.") || path.starts_with("embeddings.") || path.starts_with("final_layer_norm");
  return component.starts_with("text_encoder") && bare ? std::string(kText) + path : path;
}

at::Tensor peft_magnitude(const at::Tensor& ours) { return ours.dim() == 4 ? ours.reshape({1, -1, 1, 1}) : ours.flatten(); }

at::Tensor magnitude_from_peft(const at::Tensor& theirs) {
  return theirs.dim() == 4 ? theirs.reshape({-1, 1, 1, 1}) : theirs.reshape({-1, 1});
}

}  // namespace lowrank::adapters
