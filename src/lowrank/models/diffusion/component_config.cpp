#include "lowrank/models/diffusion/component_config.h"

#include <algorithm>

namespace lowrank::models {

namespace {

bool is_size(const Json& value) { return value.is_number_integer() && value.get<int64_t>() > 0; }

}  // namespace

ComponentConfig::ComponentConfig(const Json& config, std::string where, std::string_view class_name)
    : config_(config), wrong_(ErrorKind::file_format, where), unsupported_(ErrorKind::unsupported, where) {
  harmless({"_class_name", "_diffusers_version", "_name_or_path"});
  const std::string stored = json_get<std::string>(config, "_class_name", std::string(class_name), where);
  if (stored != class_name) unsupported_.add(fmt::format("key '_class_name': expected {}, got {}", class_name, stored));
}

const Json* ComponentConfig::find(const char* key) {
  known_.insert(key);
  const auto found = config_.find(key);
  return found == config_.end() ? nullptr : &*found;
}

void ComponentConfig::wrong(const char* key, std::string_view expected, const Json& got) {
  wrong_.add(fmt::format("key '{}': expected {}, got {}", key, expected, got.dump()));
}

int64_t ComponentConfig::size(const char* key, int64_t fallback) {
  const Json* found = find(key);
  if (found == nullptr) return fallback;
  if (is_size(*found)) return found->get<int64_t>();
  wrong(key, "a positive integer", *found);
  return fallback;
}

int64_t ComponentConfig::integer(const char* key, int64_t fallback) {
  const Json* found = find(key);
  if (found == nullptr) return fallback;
  if (found->is_number_integer()) return found->get<int64_t>();
  wrong(key, "an integer", *found);
  return fallback;
}

double ComponentConfig::number(const char* key, double fallback) {
  const Json* found = find(key);
  if (found == nullptr) return fallback;
  if (found->is_number()) return found->get<double>();
  wrong(key, "a number", *found);
  return fallback;
}

bool ComponentConfig::flag(const char* key, bool fallback) {
  const Json* found = find(key);
  if (found == nullptr) return fallback;
  if (found->is_null()) return false;
  if (found->is_boolean()) return found->get<bool>();
  wrong(key, "true or false", *found);
  return fallback;
}

std::vector<std::string> ComponentConfig::words(const char* key, std::vector<std::string> fallback) {
  const Json* found = find(key);
  if (found == nullptr) return fallback;
  if (found->is_array() && !found->empty() && std::ranges::all_of(*found, [](const Json& word) { return word.is_string(); })) {
    return found->get<std::vector<std::string>>();
  }
  wrong(key, "a list of names", *found);
  return fallback;
}

std::vector<int64_t> ComponentConfig::sizes(const char* key, size_t count, const std::vector<int64_t>& fallback) {
  const Json* found = find(key);
  if (found == nullptr && fallback.size() == count) return fallback;
  if (found == nullptr && fallback.size() == 1) return std::vector<int64_t>(count, fallback.front());
  if (found != nullptr && is_size(*found)) return std::vector<int64_t>(count, found->get<int64_t>());
  if (found != nullptr && found->is_array() && found->size() == count && std::ranges::all_of(*found, is_size)) {
    return found->get<std::vector<int64_t>>();
  }
  wrong(key, fmt::format("a positive integer or a list of {}, one a block", count), found == nullptr ? Json("nothing") : *found);
  return std::vector<int64_t>(count, 1);
}

void ComponentConfig::only(const Json& defaults) {
  for (const auto& [key, honoured] : defaults.items()) {
    const Json* found = find(key.c_str());
    if (found == nullptr || *found == honoured || (found->is_null() && honoured == Json(false))) continue;
    unsupported_.add(fmt::format("key '{}': expected {}, got {}", key, honoured.is_null() ? "null" : honoured.dump(), found->dump()));
  }
}

void ComponentConfig::harmless(std::initializer_list<std::string_view> keys) { known_.insert(keys.begin(), keys.end()); }

void ComponentConfig::finish() {
  for (const auto& [key, found] : config_.items()) {
    if (!known_.contains(key)) unsupported_.add(fmt::format("key '{}' ({}) is not known", key, found.dump()));
  }
  wrong_.raise_if_any("is this the config.json of the component in this folder?");
  unsupported_.raise_if_any("a model that needs this setting cannot be run here");
}

}  // namespace lowrank::models
