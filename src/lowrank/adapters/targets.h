// Which modules a list of targets means. An entry is
//   a name        "query": the module of that name, or any whose dotted name ends in ".query" (PEFT's rule for lists);
//   a glob        "layer.*.output.dense": '*' any run of characters, '?' one; the whole name or a dotted suffix of it;
//   an expression "re:.*\.layer\.[0-3]\..*": a regular expression that matches the whole name;
//   all-linear    every linear layer except the new heads;
//   all-conv      every convolution;
//   all           both.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lowrank/adapters/pattern.h"

namespace lowrank::adapters {

class Target {
 public:
  enum class Kind { name, glob, regex, all };
  /// Throws Error{invalid_argument} for an empty entry or an expression that does not compile.
  Target(std::string text, std::string_view where);

  /// `kind` is that of the host outside the heads (HostShape::kind), which all-linear, all-conv and all ask for; else "".
  bool matches(std::string_view name, std::string_view kind) const;
  Kind kind() const { return kind_; }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  Kind kind_ = Kind::name;
  std::optional<NamePattern> pattern_;
};

std::vector<Target> parse_targets(const std::vector<std::string>& entries, std::string_view where);

/// The number of the layer that a module belongs to, as PEFT's layers_pattern finds it; nullopt when it is in none.
std::optional<int64_t> layer_number(std::string_view name, const std::vector<std::string>& layers_pattern);

/// True when `name` is one of `modules`, lies below one, or has one among its inner components, as in
/// "bert.pooler.dense" for "pooler".
bool is_within(std::string_view name, const std::vector<std::string>& modules);

}  // namespace lowrank::adapters
