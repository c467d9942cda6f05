#include "lowrank/text/component.h"

#include <algorithm>

namespace lowrank::text {

Component::Component(const Json& value, std::string where, std::string path)
    : value_(&value), where_(std::move(where)), path_(std::move(path)) {
  if (!value.is_object()) broken("is no object");
}

Component Component::child(const char* key) const {
  if (!has(key)) broken("has no '{}'", key);
  return {(*value_)[key], where_, path_.empty() ? key : fmt::format("{}.{}", path_, key)};
}

std::vector<Component> Component::children(const char* key) const {
  if (!has(key) || !(*value_)[key].is_array()) broken("has no list '{}'", key);
  std::vector<Component> out;
  for (const Json& element : (*value_)[key]) {
    out.emplace_back(element, where_, fmt::format("{}{}{}[{}]", path_, path_.empty() ? "" : ".", key, out.size()));
  }
  return out;
}

void Component::allow(std::initializer_list<std::string_view> keys) const {
  for (const auto& [key, _] : value_->items()) {
    if (key != "type" && std::find(keys.begin(), keys.end(), key) == keys.end()) unsupported(fmt::format("unknown key '{}'", key));
  }
}

void Component::unknown_type(std::string_view what, std::string_view known) const {
  unsupported(fmt::format("{} '{}'; known are {}", what, type(), known));
}

void Component::unsupported(std::string_view problem) const {
  fail(ErrorKind::unsupported, where_, fmt::format("{}: {}", path_, problem), "docs/tokenizers.md lists what is supported");
}

}  // namespace lowrank::text
