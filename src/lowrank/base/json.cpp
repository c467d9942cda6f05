#include "lowrank/base/json.h"

#include <algorithm>
#include <set>
#include <vector>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"

namespace lowrank {

namespace {

constexpr int kMaxDepth = 200;

// Duplicate keys are refused because readers differ on which value wins.
class StrictCallback {
 public:
  bool operator()(int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kMaxDepth) problem_ = fmt::format("nested deeper than {} levels", kMaxDepth);
    switch (event) {
      case Json::parse_event_t::object_start: keys_.emplace_back(); break;
      case Json::parse_event_t::object_end: keys_.pop_back(); break;
      case Json::parse_event_t::key: note_key(parsed.get_ref<const std::string&>()); break;
      default: break;
    }
    return true;
  }
  const std::string& problem() const { return problem_; }

 private:
  void note_key(const std::string& key) {
    if (!keys_.back().insert(key).second && problem_.empty()) problem_ = fmt::format("duplicate key '{}'", key);
  }
  std::vector<std::set<std::string>> keys_;
  std::string problem_;
};

std::pair<size_t, size_t> line_and_column(std::string_view text, size_t byte) {
  byte = std::min(byte, text.size());
  const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<long>(byte), '\n');
  const size_t start = text.rfind('\n', byte == 0 ? 0 : byte - 1);
  return {static_cast<size_t>(line), start == std::string_view::npos ? byte : byte - start};
}

}  // namespace

Json parse_json(std::string_view text, std::string_view where) {
  StrictCallback strict;
  Json value;
  try {
    value = Json::parse(text.begin(), text.end(), std::ref(strict));
  } catch (const nlohmann::json::parse_error& error) {
    const auto [line, column] = line_and_column(text, error.byte);
    fail(ErrorKind::file_format, where, fmt::format("not valid JSON at line {}, column {}: {}", line, column, error.what()),
         text.empty() ? "the file is empty" : "an incomplete download or a truncated file?");
  }
  check(strict.problem().empty(), ErrorKind::file_format, where, "JSON refused: {}", strict.problem());
  return value;
}

Json read_json(const std::filesystem::path& path) { return parse_json(read_file(path), path.string()); }

std::string format_json(const Json& value) {
  if (!value.is_object()) return value.dump(2) + "\n";
  std::vector<std::string> keys;
  for (const auto& [key, _] : value.items()) keys.push_back(key);
  std::sort(keys.begin(), keys.end());
  Json sorted = Json::object();
  for (const auto& key : keys) sorted[key] = value.at(key);
  return sorted.dump(2) + "\n";
}

std::string format_json_line(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace lowrank
