// JSON as the project reads and writes it: strict in, sorted out.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace lowrank {

/// Keeps the file's key order: adapter_config.json's rank_pattern means "first match wins".
using Json = nlohmann::ordered_json;

/// Parses one JSON text. Throws Error{file_format} naming `where`, line and column for a syntax error, a duplicate key,
/// or nesting over 200 levels.
Json parse_json(std::string_view text, std::string_view where);

/// parse_json over a whole file; Error{io} when it cannot be read.
Json read_json(const std::filesystem::path& path);

/// The same for what Python's json module writes, whose -Infinity, Infinity and NaN are no JSON: null takes their place.
Json read_python_json(const std::filesystem::path& path);

/// Text with two-space indentation, a final newline and top-level keys sorted: equal content, equal bytes.
std::string format_json(const Json& value);

/// One line, keys in the order they were set (for JSON lines).
std::string format_json_line(const Json& value);

/// The member `key` as T, or `fallback` when absent or null. Throws Error{file_format} when it has another type.
template <class T>
T json_get(const Json& object, const char* key, T fallback, std::string_view where);

}  // namespace lowrank

#include "lowrank/base/error.h"

namespace lowrank {

template <class T>
T json_get(const Json& object, const char* key, T fallback, std::string_view where) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return fallback;
  try {
    return found->get<T>();
  } catch (const nlohmann::json::exception&) {
    fail(ErrorKind::file_format, where, fmt::format("key '{}' has an unexpected type: {}", key, found->dump()));
  }
}

}  // namespace lowrank
