#include "lowrank/base/json.h"

#include <algorithm>
#include <unordered_set>
#include <vector>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"

namespace lowrank {

namespace {

constexpr size_t kMaxDepth = 200;

std::pair<size_t, size_t> line_and_column(std::string_view text, size_t byte) {
  byte = std::min(byte, text.size());
  const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<long>(byte), '\n');
  const size_t start = text.rfind('\n', byte == 0 ? 0 : byte - 1);
  return {static_cast<size_t>(line), start == std::string_view::npos ? byte : byte - start};
}

// Builds the value itself: ordered_json looks through all earlier keys for each new one, which takes 40 s for the 100,000
// entries of a large shard index. Duplicate keys are refused because readers differ on which value wins.
class StrictBuilder {
 public:
  StrictBuilder(std::string_view text, std::string_view where) : text_(text), where_(where) {}
  Json take() { return std::move(root_); }

  bool null() { return add(nullptr), true; }
  bool boolean(bool value) { return add(value), true; }
  bool number_integer(int64_t value) { return add(value), true; }
  bool number_unsigned(uint64_t value) { return add(value), true; }
  bool number_float(double value, const std::string&) { return add(value), true; }
  bool string(std::string& value) { return add(std::move(value)), true; }
  bool binary(Json::binary_t&) { return false; }
  bool start_object(size_t) { return open(Json::object()); }
  bool start_array(size_t) { return open(Json::array()); }
  bool end_object() { return open_.pop_back(), true; }
  bool end_array() { return open_.pop_back(), true; }

  bool key(std::string& key) {
    if (!open_.back().keys.insert(key).second) {
      fail(ErrorKind::file_format, where_, fmt::format("JSON refused: duplicate key '{}'", key));
    }
    key_ = std::move(key);
    return true;
  }

  bool parse_error(size_t byte, const std::string&, const nlohmann::json::exception& error) {
    const auto [line, column] = line_and_column(text_, byte);
    fail(ErrorKind::file_format, where_, fmt::format("not valid JSON at line {}, column {}: {}", line, column, error.what()),
         text_.empty() ? "the file is empty" : "an incomplete download or a truncated file?");
  }

 private:
  struct Level {
    Json* value;
    std::unordered_set<std::string> keys;
  };

  Json& add(Json value) {
    if (open_.empty()) return root_ = std::move(value);
    Json& parent = *open_.back().value;
    if (parent.is_array()) return parent.get_ref<Json::array_t&>().emplace_back(std::move(value));
    return parent.get_ref<Json::object_t&>().emplace_back(std::move(key_), std::move(value)).second;
  }

  bool open(Json container) {
    check(open_.size() < kMaxDepth, ErrorKind::file_format, where_, "JSON refused: nested deeper than {} levels", kMaxDepth);
    open_.push_back({&add(std::move(container)), {}});
    return true;
  }

  std::string_view text_, where_;
  Json root_;
  std::vector<Level> open_;
  std::string key_;
};

}  // namespace

Json parse_json(std::string_view text, std::string_view where) {
  // The parser takes NUL for the end of its input and would not see what follows.
  check(text.find('\0') == text.npos, ErrorKind::file_format, where, "not valid JSON: a NUL byte at byte {}", text.find('\0'));
  StrictBuilder builder(text, where);
  Json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

Json read_json(const std::filesystem::path& path) { return parse_json(read_file(path), path.string()); }

Json read_python_json(const std::filesystem::path& path) {
  std::string text = read_file(path);
  bool in_text = false;
  for (size_t at = 0; at < text.size(); ++at) {
    if (in_text && text[at] == '\\') {
      ++at;
      continue;
    }
    if (text[at] == '"') in_text = !in_text;
    for (const std::string_view word : {"-Infinity", "Infinity", "NaN"}) {
      if (!in_text && text.compare(at, word.size(), word) == 0) text.replace(at, word.size(), "null");
    }
  }
  return parse_json(text, path.string());
}

std::string format_json(const Json& value) {
  if (!value.is_object()) return value.dump(2) + "\n";
  std::vector<std::string> keys;
  for (const auto& [key, _] : value.items()) keys.push_back(key);
  std::sort(keys.begin(), keys.end());
  Json sorted = Json::object();
  for (const auto& key : keys) sorted[key] = value.at(key);
  return sorted.dump(2) + "\n";
}

std::string format_json_line(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"; }

}  // namespace lowrank
