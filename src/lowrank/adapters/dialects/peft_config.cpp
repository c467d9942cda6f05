#include "lowrank/adapters/dialects/peft_config.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "lowrank/adapters/dialects/peft_keys.h"
#include "lowrank/adapters/targets.h"
#include "lowrank/base/error.h"

namespace lowrank::adapters {

namespace {

using Strings = std::vector<std::string>;

bool is_plain_name(const std::string& entry) { return Target(entry, "target-modules").kind() == Target::Kind::name; }

bool are_plain(const Strings& entries) { return std::all_of(entries.begin(), entries.end(), is_plain_name); }

bool is_one_regex(const Strings& entries) {
  return entries.size() == 1 && entries.front().starts_with("re:") && is_portable_regex(entries.front());
}

Json null_if_empty(const Strings& list) { return list.empty() ? Json() : Json(list); }

// A list as PEFT's set (sorted, each once), or one regex as its string.
Json format_names(const Strings& entries) {
  if (is_one_regex(entries)) return entries.front().substr(3);
  return null_if_empty([&] {
    const std::set<std::string> sorted(entries.begin(), entries.end());
    return Strings(sorted.begin(), sorted.end());
  }());
}

Json whole_if_possible(double value) {
  const auto whole = static_cast<int64_t>(value);
  return static_cast<double>(whole) == value ? Json(whole) : Json(value);
}

template <class T>
Json format_patterns(const PatternList<T>& list) {
  Json object = Json::object();
  // A repeated key never matches the second time.
  for (const auto& [key, value] : list.entries) {
    if (!object.contains(key)) object[key] = whole_if_possible(static_cast<double>(value));
  }
  return object;
}

std::string escaped(const std::string& module) {
  std::string text;
  for (const char c : module) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_') text += '\\';
    text += c;
  }
  return text;
}

bool nearly_equal(double a, double b) { return std::abs(a - b) <= 1e-12 * std::max(std::abs(a), std::abs(b)); }

// r, alpha and their patterns: the user's own where PEFT builds the same from them, else what each module needs.
void set_strengths(Json& json, const AdapterSet& set, const std::string& alpha_key) {
  const auto& ranks = set.config.rank_pattern;
  const auto& alphas = set.config.alpha_pattern;
  const auto is_portable = [](const auto& entry) { return is_portable_regex(entry.first); };
  bool as_configured = std::all_of(ranks.entries.begin(), ranks.entries.end(), is_portable) &&
                       std::all_of(alphas.entries.begin(), alphas.entries.end(), is_portable);
  PatternList<int64_t> own_ranks;
  PatternList<double> own_alphas;
  for (const auto& entry : set.modules) {
    const auto [rank, alpha] = set.config.method->peft_module(entry.options, entry.host->shape());
    as_configured = as_configured && rank == ranks.value_for(entry.module, set.config.rank) &&
                    nearly_equal(alpha, alphas.value_for(entry.module, set.config.alpha));
    own_ranks.entries.emplace_back(escaped(entry.module), rank);
    own_alphas.entries.emplace_back(escaped(entry.module), nearly_equal(alpha, entry.options.alpha) ? entry.options.alpha : alpha);
  }
  json["r"] = set.config.rank;
  json[alpha_key] = whole_if_possible(set.config.alpha);
  json["rank_pattern"] = format_patterns(as_configured ? ranks : own_ranks);
  json["alpha_pattern"] = format_patterns(as_configured ? alphas : own_alphas);
}

Strings parse_names(const Json& value, const std::string& key, std::vector<std::string>& malformed) {
  if (value.is_null()) return {};
  if (value.is_string()) {
    std::string text = value.get<std::string>(), lower = text;
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return {lower == "all-linear" ? lower : "re:" + text};
  }
  Strings names;
  const bool is_list =
      value.is_array() && std::all_of(value.begin(), value.end(), [](const Json& item) { return item.is_string() && item != ""; });
  if (!is_list) {
    malformed.push_back(fmt::format("{}: expected a list of names or a regular expression, got {}", key, value.dump()));
    return {};
  }
  for (const auto& item : value) {
    names.push_back(item.get<std::string>());
    if (is_plain_name(names.back())) continue;
    malformed.push_back(fmt::format("{}: in a list PEFT takes '{}' for a plain name, which no module has", key, names.back()));
  }
  return names;
}

template <class T>
PatternList<T> parse_patterns(const Json& value, const std::string& key, std::vector<std::string>& malformed) {
  PatternList<T> list;
  if (!value.is_object() && !value.is_null()) malformed.push_back(fmt::format("{}: expected an object, got {}", key, value.dump()));
  if (!value.is_object()) return list;
  for (const auto& [pattern, item] : value.items()) {
    const double number = item.is_number() ? item.get<double>() : 0;
    if (std::isfinite(number) && number > 0 && static_cast<double>(static_cast<T>(number)) == number) {
      list.entries.emplace_back(pattern, static_cast<T>(number));
    } else {
      malformed.push_back(fmt::format("{}: expected a number over 0 for '{}', got {}", key, pattern, item.dump()));
    }
  }
  return list;
}

// A single value or a list of them, as PEFT allows for layers_to_transform and layers_pattern.
template <class T>
std::vector<T> parse_one_or_list(const Json& value, const std::string& key, std::vector<std::string>& malformed) {
  std::vector<T> list;
  for (const auto& item : value.is_null() ? Json::array() : value.is_array() ? value : Json::array({value})) {
    const bool usable = std::is_same_v<T, std::string> ? item.is_string() : item.is_number_integer();
    if (usable) {
      list.push_back(item.get<T>());
    } else {
      malformed.push_back(fmt::format("{}: unexpected value {}", key, item.dump()));
    }
  }
  return list;
}

const Method& method_for(const Json& all, std::string_view where) {
  std::set<std::string> known;
  for (const Method* method : methods()) {
    const PeftSpelling spelling = method->peft();
    known.emplace(spelling.peft_type);
    const bool fits = std::all_of(spelling.fixed.begin(), spelling.fixed.end(), [&](const auto& pair) {
      const auto found = all.find(std::string(pair.first));
      return found != all.end() && *found == pair.second;
    });
    if (all["peft_type"] == spelling.peft_type && fits) return *method;
  }
  fail(ErrorKind::unsupported, where, fmt::format("expected peft_type {}, got {}", fmt::join(known, " or "), all["peft_type"].dump()));
}

void set_options(AdapterConfig& config, const Json& all, std::string_view where, std::vector<std::string>& malformed) {
  OptionTable table;
  config.declare(table);
  for (const auto& [option, key] : peft_option_keys(*config.method)) {
    if (all[key].is_null()) continue;
    try {
      table.at(option, where).set(all[key], where);
    } catch (const Error& error) {
      malformed.push_back(fmt::format("{}: {}", key, error.problem()));
    }
  }
}

void parse_context(PeftContext& context, const Json& json, const Json& all, std::string_view peft_type,
                   std::vector<std::string>& malformed) {
  context.base_model = all["base_model_name_or_path"].is_string() ? all["base_model_name_or_path"].get<std::string>() : "";
  context.task_type = all["task_type"].is_string() ? all["task_type"].get<std::string>() : "";
  context.modules_to_save = parse_one_or_list<std::string>(all["modules_to_save"], "modules_to_save", malformed);
  for (const auto& [name, value] : json.items()) {
    const PeftKey* key = peft_key(peft_type, name);
    const bool ours = name == "inference_mode" || name == "peft_version";
    if (key != nullptr && !ours && key->role != PeftRole::spelled && value != Json::parse(key->default_value)) context.kept[name] = value;
  }
}

}  // namespace

std::vector<std::pair<std::string, std::string>> peft_option_keys(const Method& method) {
  const PeftSpelling spelling = method.peft();
  std::vector<std::pair<std::string, std::string>> pairs = {{"rank", "r"}, {"alpha", std::string(spelling.alpha_key)}};
  if (peft_key(spelling.peft_type, "bias") != nullptr) pairs.emplace_back("bias", "bias");
  if (!spelling.dropout_key.empty()) pairs.emplace_back("dropout", spelling.dropout_key);
  pairs.insert(pairs.end(), spelling.options.begin(), spelling.options.end());
  return pairs;
}

bool peft_can_name_targets(const AdapterConfig& config) {
  const bool by_regex = is_one_regex(config.target_modules) && config.layers.empty();
  return (are_plain(config.target_modules) || by_regex) && (are_plain(config.exclude_modules) || is_one_regex(config.exclude_modules));
}

PeftConfig parse_peft_config(const Json& json, std::string_view where) {
  check(json.is_object() && json.contains("peft_type"), ErrorKind::file_format, where, "expected an object with peft_type, got {}",
        json.is_object() ? "none" : json.type_name());
  const std::string type = json["peft_type"].is_string() ? json["peft_type"].get<std::string>() : "";
  Json all = peft_defaults(type);
  for (const auto& [key, value] : json.items()) all[key] = value;

  const Method& method = method_for(all, where);
  PeftConfig result{make_config(method.name()), {}};
  AdapterConfig& config = result.config;
  auto [unsupported, malformed] = check_peft_keys(json, type);
  config.target_modules = parse_names(all["target_modules"], "target_modules", malformed);
  if (all["target_modules"].is_null()) unsupported.push_back("target_modules null: PEFT then chooses by model type; name the modules");
  config.exclude_modules = parse_names(all["exclude_modules"], "exclude_modules", malformed);
  config.layers = parse_one_or_list<int64_t>(all["layers_to_transform"], "layers_to_transform", malformed);
  config.layers_pattern = parse_one_or_list<std::string>(all["layers_pattern"], "layers_pattern", malformed);
  config.rank_pattern = parse_patterns<int64_t>(all["rank_pattern"], "rank_pattern", malformed);
  config.alpha_pattern = parse_patterns<double>(all["alpha_pattern"], "alpha_pattern", malformed);
  set_options(config, all, where, malformed);
  parse_context(result.context, json, all, type, malformed);

  Problems problems(unsupported.empty() ? ErrorKind::file_format : ErrorKind::unsupported, std::string(where));
  for (auto* list : {&unsupported, &malformed}) {
    for (auto& problem : *list) problems.add(std::move(problem));
  }
  problems.raise_if_any();
  return result;
}

Json format_peft_config(const AdapterSet& set, const PeftContext& context) {
  const AdapterConfig& config = set.config;
  const PeftSpelling spelling = config.method->peft();
  Json json = peft_defaults(spelling.peft_type);
  for (const auto& [key, value] : context.kept.items()) {
    if (peft_key(spelling.peft_type, key) != nullptr) json[key] = value;
  }
  for (const auto& [key, value] : spelling.fixed) json[std::string(key)] = value;
  AdapterConfig copy = config;
  OptionTable table;
  copy.declare(table);
  for (const auto& [option, key] : peft_option_keys(*config.method)) json[key] = table.at(option, "peft").value();
  set_strengths(json, set, std::string(spelling.alpha_key));

  const bool keeps_off_heads =
      std::all_of(set.heads.begin(), set.heads.end(), [&](const std::string& head) { return is_within(head, context.modules_to_save); });
  if (keeps_off_heads && peft_can_name_targets(config)) {
    json["target_modules"] = format_names(config.target_modules);
    json["exclude_modules"] = format_names(config.exclude_modules);
    if (!config.layers.empty()) json["layers_to_transform"] = config.layers;
    if (!config.layers_pattern.empty()) json["layers_pattern"] = config.layers_pattern;
  } else {
    Strings chosen;
    for (const auto& entry : set.modules) chosen.push_back(entry.module);
    json["target_modules"] = format_names(chosen);
  }
  json["modules_to_save"] = null_if_empty(context.modules_to_save);
  json["base_model_name_or_path"] = context.base_model.empty() ? Json() : Json(context.base_model);
  json["task_type"] = context.task_type.empty() ? Json() : Json(context.task_type);
  json["inference_mode"] = true;
  json["peft_version"] = kPeftVersion;
  return json;
}

std::string difference_for(const AdapterConfig& one, const AdapterConfig& other, const std::string& module, const nn::HostShape& shape) {
  const ModuleOptions a = one.for_module(module, shape), b = other.for_module(module, shape);
  const auto ta = one.method->tensors(a, shape), tb = other.method->tensors(b, shape);
  const bool same = std::equal(ta.begin(), ta.end(), tb.begin(), tb.end(),
                               [](const TensorSpec& x, const TensorSpec& y) { return x.name == y.name && x.shape == y.shape; });
  if (!same) return fmt::format("'{}' would get other tensors (rank {} against {})", module, a.rank, b.rank);
  const double sa = one.method->effective_scale(a, shape), sb = other.method->effective_scale(b, shape);
  return nearly_equal(sa, sb) ? "" : fmt::format("'{}' would get another scale ({} against {})", module, sa, sb);
}

}  // namespace lowrank::adapters
