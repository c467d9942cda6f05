// What a user asks for when adapting a model: one method, its options, and which modules it goes to.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lowrank/adapters/method.h"

namespace lowrank::adapters {

/// Values by module, tried in order. As an option and in JSON: a list of "key=value", as in "layer.5.output.dense=8".
/// A key is a regular expression and must match the module's whole name or a dotted suffix of it, as PEFT has it.
template <class T>
struct PatternList {
  std::vector<std::pair<std::string, T>> entries;

  /// The value of the first entry that matches, else `otherwise`.
  T value_for(const std::string& module, T otherwise) const;
  bool operator==(const PatternList&) const = default;
};
void to_json(Json& json, const PatternList<int64_t>& list);
void to_json(Json& json, const PatternList<double>& list);
void from_json(const Json& json, PatternList<int64_t>& list);
void from_json(const Json& json, PatternList<double>& list);

/// Copies share `options`; from_json(to_json()) makes an independent one.
struct AdapterConfig {
  const Method* method = nullptr;
  int64_t rank = 16;
  double alpha = 16;
  /// Of convolutions whose kernel is larger than 1×1; 0 for rank and alpha as above (kohya's conv_dim and conv_alpha).
  int64_t conv_rank = 0;
  double conv_alpha = 0;
  /// Name suffixes ("query"), globs ("layer.*.attention.*"), "re:<regex>" (full match), "all-linear", "all-conv" or
  /// "all". See targets.h.
  std::vector<std::string> target_modules = {"all-linear"};
  std::vector<std::string> exclude_modules;
  /// Only layers with these numbers; all when empty. The number is the one after a component named in layers_pattern
  /// ("layer" in encoder.layer.3.output), or without it the first number that follows two components.
  std::vector<int64_t> layers;
  std::vector<std::string> layers_pattern;
  std::string bias = "none";  // none | all | lora_only
  PatternList<int64_t> rank_pattern;
  PatternList<double> alpha_pattern;
  std::shared_ptr<MethodOptions> options;  // of `method`
  uint64_t seed = 42;

  /// rank, alpha, … and then the method's own, into one table. The table refers to this object and to *options.
  void declare(OptionTable& table);
  /// This module's rank and alpha: its pattern's, else those for its kind of layer.
  ModuleOptions for_module(const std::string& module, const nn::HostShape& host) const;
  /// Everything that defines the adapter, resolved; from_json(to_json()) is the same configuration.
  Json to_json() const;
  /// Throws Error{invalid_argument} naming every unknown or unusable key.
  static AdapterConfig from_json(const Json& value);
};

/// A config for the named method with its default options.
AdapterConfig make_config(std::string_view method);

}  // namespace lowrank::adapters
