// adapter_config.json in both directions; dialects/peft.h is the interface for everyone else.
#pragma once

#include "lowrank/adapters/dialects/peft.h"

namespace lowrank::adapters {

struct PeftConfig {
  AdapterConfig config;
  PeftContext context;
};

/// Throws as read_peft; `where` is the file's path.
PeftConfig parse_peft_config(const Json& json, std::string_view where);

/// Every key that PEFT writes for the method's type. Targets that PEFT cannot express (globs, all-linear, several
/// regexes), or would apply to heads that are not in modules_to_save, become the list of the modules that they chose.
Json format_peft_config(const AdapterSet& set, const PeftContext& context);

/// True when target_modules, exclude_modules and layers can be written as they are.
bool peft_can_name_targets(const AdapterConfig& config);

/// Our option names beside PEFT's keys, for those that have the same values in both.
std::vector<std::pair<std::string, std::string>> peft_option_keys(const Method& method);

/// Where two configurations would not give one module the same tensors and scale: a sentence, or "".
std::string difference_for(const AdapterConfig& one, const AdapterConfig& other, const std::string& module, const nn::HostShape& shape);

}  // namespace lowrank::adapters
