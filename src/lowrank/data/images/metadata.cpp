#include "lowrank/data/images/metadata.h"

#include <algorithm>
#include <array>
#include <set>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/base/json.h"
#include "lowrank/data/normalize.h"

namespace lowrank::data {

namespace {

constexpr std::array<std::string_view, 3> kTextKeys = {"text", "caption", "prompt"};

/// Adds one row; returns what is wrong with it, or "".
std::string add_row(const Json& row, int64_t line, Metadata& metadata, std::set<std::string>& unused) {
  if (!row.is_object()) return "expected an object";
  const auto name = row.find("file_name");
  if (name == row.end() || !name->is_string()) return "expected a text 'file_name'";
  const std::string file = std::filesystem::path(name->get<std::string>()).lexically_normal().generic_string();
  if (file.starts_with("..") || file.starts_with('/')) return fmt::format("expected a file in this folder, got '{}'", file);
  std::string text;
  int texts = 0;
  for (const auto& [key, value] : row.items()) {
    if (key == "file_name") continue;
    if (std::find(kTextKeys.begin(), kTextKeys.end(), key) == kTextKeys.end()) {
      unused.insert(key);
      continue;
    }
    if (!value.is_string()) return fmt::format("expected a text as '{}'", key);
    text = trim(value.get<std::string>());
    ++texts;
  }
  if (texts > 1) return "expected one of 'text', 'caption', 'prompt', got several";
  if (!metadata.captions.emplace(file, text).second) return fmt::format("'{}' is there twice (line {})", file, metadata.lines[file]);
  metadata.lines[file] = line;
  return {};
}

}  // namespace

Metadata read_metadata(const std::filesystem::path& path) {
  const std::string content = read_file(path);
  Problems problems(ErrorKind::file_format, path.string());
  for (const int64_t line : invalid_utf8_lines(content)) problems.add(fmt::format("line {}: not UTF-8", line));
  problems.raise_if_any("save the file as UTF-8");
  Metadata metadata;
  std::set<std::string> unused;
  std::string_view rest = content;
  for (int64_t line = 1; !rest.empty(); ++line) {
    const size_t end = rest.find('\n');
    const std::string_view text = trim(rest.substr(0, end));
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (text.empty()) continue;
    try {
      const std::string problem = add_row(parse_json(text, "row"), line, metadata, unused);
      if (!problem.empty()) problems.add(fmt::format("line {}: {}", line, problem));
    } catch (const Error& error) {
      problems.add(fmt::format("line {}: {}", line, error.problem()));
    }
  }
  problems.raise_if_any("a row is {\"file_name\": \"a.png\", \"text\": \"a caption\"}");
  metadata.unused_keys.assign(unused.begin(), unused.end());
  return metadata;
}

}  // namespace lowrank::data
