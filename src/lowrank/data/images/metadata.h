// metadata.jsonl: captions in one file, as the datasets library names it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace lowrank::data {

struct Metadata {
  std::map<std::string, std::string> captions;  // by file_name; "" where the row has no text
  std::map<std::string, int64_t> lines;         // by file_name, 1-based
  std::vector<std::string> unused_keys;         // sorted
};

/// Rows are objects with "file_name" and one of "text", "caption", "prompt". Throws Error{file_format} naming every bad
/// line: broken JSON, no file_name, a name that leaves the folder, a name twice, two texts, text that is no string.
Metadata read_metadata(const std::filesystem::path& path);

}  // namespace lowrank::data
