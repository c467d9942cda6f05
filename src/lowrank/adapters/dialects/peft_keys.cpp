#include "lowrank/adapters/dialects/peft_keys.h"

#include <algorithm>
#include <array>

#include "lowrank/base/error.h"

namespace lowrank::adapters {

namespace {

using enum PeftRole;

constexpr std::array kTypes = {PeftType{"LORA", "lora_"}, PeftType{"LOKR", "lokr_"}};

constexpr std::array kKeys = {
    PeftKey{"", "alpha_pattern", "{}", spelled, ""},
    PeftKey{"", "auto_mapping", "null", kept, ""},
    PeftKey{"", "base_model_name_or_path", "null", spelled, ""},
    PeftKey{"", "exclude_modules", "null", spelled, ""},
    PeftKey{"", "inference_mode", "false", kept, ""},
    PeftKey{"", "layers_pattern", "null", spelled, ""},
    PeftKey{"", "layers_to_transform", "null", spelled, ""},
    PeftKey{"", "modules_to_save", "null", spelled, ""},
    PeftKey{"", "peft_type", "null", spelled, ""},
    PeftKey{"", "peft_version", "null", kept, ""},
    PeftKey{"", "r", "8", spelled, ""},
    PeftKey{"", "rank_pattern", "{}", spelled, ""},
    PeftKey{"", "revision", "null", kept, ""},
    PeftKey{"", "target_modules", "null", spelled, ""},
    PeftKey{"", "task_type", "null", spelled, ""},

    PeftKey{"LORA", "alora_invocation_tokens", "null", refused, "an adapter that acts only after certain tokens"},
    PeftKey{"LORA", "arrow_config", "null", refused, "routing between several adapters"},
    PeftKey{"LORA", "bias", "\"none\"", spelled, ""},
    PeftKey{"LORA", "corda_config", "null", refused, "factors taken out of the base weights"},
    PeftKey{"LORA", "ensure_weight_tying", "false", refused, "one adapter shared by tied layers"},
    PeftKey{"LORA", "eva_config", "null", refused, "ranks and factors drawn from data"},
    PeftKey{"LORA", "fan_in_fan_out", "false", refused, "base weights stored as [in, out]"},
    PeftKey{"LORA", "init_lora_weights", "true", kept, ""},
    PeftKey{"LORA", "kasa_config", "null", refused, "a base truncated by its smallest singular values"},
    PeftKey{"LORA", "layer_replication", "null", refused, "layers of the base used several times"},
    PeftKey{"LORA", "loftq_config", "{}", refused, "a base replaced by its quantised residual"},
    PeftKey{"LORA", "lora_alpha", "8", spelled, ""},
    PeftKey{"LORA", "lora_bias", "false", refused, "a bias on lora_B"},
    PeftKey{"LORA", "lora_dropout", "0.0", spelled, ""},
    PeftKey{"LORA", "lora_ga_config", "null", refused, "factors taken from gradients, out of the base weights"},
    PeftKey{"LORA", "megatron_config", "null", refused, "layers split by Megatron"},
    PeftKey{"LORA", "megatron_core", "\"megatron.core\"", inert, ""},
    PeftKey{"LORA", "monteclora_config", "null", refused, "random perturbations of the factors"},
    PeftKey{"LORA", "qalora_group_size", "16", inert, ""},
    PeftKey{"LORA", "target_parameters", "null", refused, "adapters on single parameters (experts) in place of layers"},
    PeftKey{"LORA", "trainable_token_indices", "null", refused, "new values for single rows of the embedding"},
    PeftKey{"LORA", "use_bdlora", "null", refused, "block-diagonal factors"},
    PeftKey{"LORA", "use_dora", "false", spelled, ""},
    PeftKey{"LORA", "use_qalora", "false", refused, "inputs pooled in groups"},
    PeftKey{"LORA", "use_rslora", "false", spelled, ""},
    PeftKey{"LORA", "velora_config", "null", refused, "compressed activations"},

    PeftKey{"LOKR", "alpha", "8", spelled, ""},
    PeftKey{"LOKR", "decompose_both", "false", spelled, ""},
    PeftKey{"LOKR", "decompose_factor", "-1", spelled, ""},
    PeftKey{"LOKR", "init_weights", "true", kept, ""},
    PeftKey{"LOKR", "module_dropout", "0.0", spelled, ""},
    PeftKey{"LOKR", "rank_dropout", "0.0", spelled, ""},
    PeftKey{"LOKR", "rank_dropout_scale", "false", spelled, ""},
    PeftKey{"LOKR", "use_effective_conv2d", "false", spelled, ""},
};

constexpr std::array<std::string_view, 6> kTasks = {"SEQ_CLS",   "SEQ_2_SEQ_LM", "CAUSAL_LM",
                                                    "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION"};

// Initialisations that leave the base as it is say nothing about a trained adapter.
std::string initialisation_problem(std::string_view key, const Json& value) {
  if (value.is_boolean() || value.is_null()) return {};
  if (value.is_string() && (value == "gaussian" || value == "orthogonal" || (key == "init_weights" && value == "lycoris"))) return {};
  const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  const bool changes_base = text.starts_with("pissa") || text == "olora" || text == "corda" || text == "loftq" || text == "lora_ga";
  return fmt::format("{} {}: {}", key, value.dump(),
                     changes_base ? "the adapter belongs to base weights that this initialisation changed, which the folder does not hold; "
                                    "save it in PEFT with path_initial_model_for_weight_conversion to get a plain one"
                                  : "expected true, false, \"gaussian\" or \"orthogonal\"");
}

bool is_harmless(const PeftKey& key, const Json& value) {
  return key.role != refused || value.is_null() || value == Json::parse(key.default_value) || (value.is_object() && value.empty());
}

}  // namespace

const PeftType* peft_type_named(std::string_view name) {
  const auto* found = std::find_if(kTypes.begin(), kTypes.end(), [&](const PeftType& type) { return type.name == name; });
  return found == kTypes.end() ? nullptr : found;
}

const PeftKey* peft_key(std::string_view peft_type, std::string_view name) {
  for (const auto& key : kKeys) {
    if (key.name == name && (key.peft_type.empty() || key.peft_type == peft_type)) return &key;
  }
  return nullptr;
}

Json peft_defaults(std::string_view peft_type) {
  Json defaults = Json::object();
  for (const auto& key : kKeys) {
    if (key.peft_type.empty() || key.peft_type == peft_type) defaults[std::string(key.name)] = Json::parse(key.default_value);
  }
  defaults["peft_type"] = peft_type;
  return defaults;
}

PeftProblems check_peft_keys(const Json& config, std::string_view peft_type) {
  std::vector<std::string> names;
  const Json defaults = peft_defaults(peft_type);
  for (const auto& [name, value] : defaults.items()) names.push_back(name);
  const auto is_task = [](const Json& value) {
    return value.is_string() && std::find(kTasks.begin(), kTasks.end(), value.get<std::string>()) != kTasks.end();
  };
  PeftProblems problems;
  for (const auto& [name, value] : config.items()) {
    const PeftKey* key = peft_key(peft_type, name);
    if (name == "runtime_config") continue;  // PEFT ignores it too: it describes a process, not an adapter
    if (key == nullptr) {
      problems.malformed.push_back(fmt::format("unknown key '{}' with value {}{}", name, value.dump(), did_you_mean(name, names)));
    } else if (!is_harmless(*key, value)) {
      problems.unsupported.push_back(fmt::format("{} {}: {} is not supported", name, value.dump(), key->meaning));
    } else if (name.starts_with("init_")) {
      if (auto problem = initialisation_problem(name, value); !problem.empty()) problems.unsupported.push_back(std::move(problem));
    } else if (name == "task_type" && !value.is_null() && !is_task(value)) {
      problems.malformed.push_back(fmt::format("task_type: expected one of {}, got {}", fmt::join(kTasks, ", "), value.dump()));
    }
  }
  return problems;
}

}  // namespace lowrank::adapters
