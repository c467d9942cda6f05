#include "lowrank/adapters/targets.h"

#include <charconv>

#include "lowrank/base/error.h"

namespace lowrank::adapters {

namespace {

constexpr std::string_view kRegexPrefix = "re:";

bool is_name_or_suffix(std::string_view name, std::string_view wanted) {
  return name == wanted || (name.size() > wanted.size() && name.ends_with(wanted) && name[name.size() - wanted.size() - 1] == '.');
}

bool glob_matches_suffix(std::string_view glob, std::string_view name) {
  for (size_t at = 0; at != std::string_view::npos; at = name.find('.', at)) {
    if (at > 0) ++at;
    if (matches_glob(glob, name.substr(at))) return true;
  }
  return false;
}

}  // namespace

Target::Target(std::string text, std::string_view where) : text_(std::move(text)) {
  check(!text_.empty() && text_ != kRegexPrefix, ErrorKind::invalid_argument, where,
        "expected a module name, a glob, re:<regex>, all-linear, all-conv or all, got '{}'", text_);
  if (text_ == "all-linear" || text_ == "all-conv" || text_ == "all") {
    kind_ = Kind::all;
  } else if (text_.starts_with(kRegexPrefix)) {
    kind_ = Kind::regex;
    pattern_.emplace(text_.substr(kRegexPrefix.size()), where);
  } else if (text_.find_first_of("*?") != std::string::npos) {
    kind_ = Kind::glob;
  }
}

bool Target::matches(std::string_view name, std::string_view kind) const {
  switch (kind_) {
    case Kind::all: return (kind == "linear" && text_ != "all-conv") || (kind == "conv2d" && text_ != "all-linear");
    case Kind::regex: return pattern_->matches(name);
    case Kind::glob: return glob_matches_suffix(text_, name);
    case Kind::name: break;
  }
  return is_name_or_suffix(name, text_);
}

std::vector<Target> parse_targets(const std::vector<std::string>& entries, std::string_view where) {
  std::vector<Target> targets;
  for (const auto& entry : entries) targets.emplace_back(entry, where);
  return targets;
}

std::optional<int64_t> layer_number(std::string_view name, const std::vector<std::string>& layers_pattern) {
  // Without a pattern PEFT wants two components before the number; `begin` walks over the components, the last
  // excluded.
  const auto find = [&](const NamePattern* before) -> std::optional<int64_t> {
    size_t component = 0;
    for (size_t begin = 0, end = name.find('.'); end != std::string_view::npos; begin = end + 1, end = name.find('.', begin), ++component) {
      int64_t number = 0;
      const auto [stop, code] = std::from_chars(name.data() + begin, name.data() + end, number);
      if (code != std::errc() || stop != name.data() + end || begin == 0) continue;
      if (before == nullptr ? component >= 2 : before->matches(name.substr(0, begin - 1))) return number;
    }
    return std::nullopt;
  };
  if (layers_pattern.empty()) return find(nullptr);
  for (const auto& pattern : layers_pattern) {
    const NamePattern before = suffix_pattern(pattern, "layers-pattern");
    if (const auto number = find(&before)) return number;
  }
  return std::nullopt;
}

bool is_within(std::string_view name, const std::vector<std::string>& modules) {
  const std::string dotted = fmt::format(".{}.", name);
  for (const auto& module : modules) {
    if (dotted.find(fmt::format(".{}.", module)) != std::string::npos) return true;
  }
  return false;
}

}  // namespace lowrank::adapters
