// What a user asks for when adapting a model: one method, its options, and which modules it goes to.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lowrank/adapters/method.h"

namespace lowrank::adapters {

struct AdapterConfig {
  const Method* method = nullptr;
  int64_t rank = 16;
  double alpha = 16;
  /// Name suffixes ("query"), globs ("encoder.layer.*.attention.*"), "re:<regex>" (full match), or "all-linear".
  std::vector<std::string> target_modules = {"all-linear"};
  std::vector<std::string> exclude_modules;
  std::string bias = "none";                                        // none | all | lora_only
  /// First match wins: suffix of the module path or a regex over it, as PEFT matches them.
  std::vector<std::pair<std::string, int64_t>> rank_pattern;
  std::vector<std::pair<std::string, double>> alpha_pattern;
  std::shared_ptr<MethodOptions> options;                           // of `method`
  uint64_t seed = 42;

  /// rank, alpha, … and then the method's own, into one table.
  void declare(OptionTable& table);
  /// This module's rank and alpha after the patterns.
  ModuleOptions for_module(const std::string& module) const;
  /// Everything that defines the adapter, resolved; from_json(to_json()) is the same configuration.
  Json to_json() const;
  static AdapterConfig from_json(const Json& value);
};

/// A config for the named method with its default options.
AdapterConfig make_config(std::string_view method);

}  // namespace lowrank::adapters
