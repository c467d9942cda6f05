// The keys of PEFT's adapter_config.json, one table row each (PEFT 0.21.2, to_dict() of LoraConfig and LoKrConfig).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lowrank/base/json.h"

namespace lowrank::adapters {

/// The PEFT release whose files these are; written as peft_version.
inline constexpr std::string_view kPeftVersion = "0.21.2";

enum class PeftRole {
  spelled,  // says what an option of ours says
  kept,     // changes nothing here: read, kept and written back
  inert,    // has a meaning only beside another key that is refused
  refused,  // any value but the default asks for something that is not built
};

struct PeftKey {
  std::string_view peft_type;  // "" for every type
  std::string_view name;
  std::string_view default_value;  // as JSON
  PeftRole role;
  std::string_view meaning;  // of a refused key, for people: what the value asks for
};

/// What one peft_type has in common.
struct PeftType {
  std::string_view name;           // "LORA"
  std::string_view tensor_prefix;  // of its tensors' names: "lora_"
};

/// nullptr for a type that is not in the table.
const PeftType* peft_type_named(std::string_view name);
/// nullptr when the type has no such key.
const PeftKey* peft_key(std::string_view peft_type, std::string_view name);
/// Every key of the type with its default.
Json peft_defaults(std::string_view peft_type);

/// What is wrong with a configuration's keys and values, as sentences; the first list is Error{unsupported} matter, the
/// second Error{file_format}.
struct PeftProblems {
  std::vector<std::string> unsupported, malformed;
};
PeftProblems check_peft_keys(const Json& config, std::string_view peft_type);

}  // namespace lowrank::adapters
