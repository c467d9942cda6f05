#include "lowrank/io/shards.h"

#include <algorithm>

#include "lowrank/base/json.h"
#include "lowrank/base/log.h"
#include "lowrank/io/formats/safetensors.h"

namespace lowrank::io {

namespace fs = std::filesystem;

namespace {

bool leaves_folder(const fs::path& file) {
  if (file.empty() || file.is_absolute()) return true;
  for (const auto& part : file) {
    if (part == "..") return true;
  }
  return false;
}

}  // namespace

ShardIndex::ShardIndex(const fs::path& path) : path_(path), problems_(ErrorKind::file_format, path.string()) {
  const Json index = read_json(path);
  check(index.is_object(), ErrorKind::file_format, path.string(), "expected a shard index (an object with 'weight_map')");
  for (const auto& [key, value] : index.items()) {
    if (key != "metadata" && key != "weight_map") problems_.add(fmt::format("unknown key {}", quote(key)));
  }
  const auto map = index.find("weight_map");
  check(map != index.end() && map->is_object(), ErrorKind::file_format, path.string(),
        "expected 'weight_map' to be an object of tensor names and shard files");
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string()) {
      problems_.add(fmt::format("weight_map {}: expected the name of a shard file, got {}", quote(tensor), quote(file.dump())));
    } else {
      shard_of_[tensor] = file.get<std::string>();
    }
  }
  for (const auto& file : files()) {
    std::error_code ignored;
    if (leaves_folder(file)) {
      problems_.add(fmt::format("shard {} lies outside the index's folder", quote(file)));
    } else if (!fs::exists(path.parent_path() / file, ignored)) {
      problems_.add(fmt::format("shard {} is missing", quote(file)));
    }
  }
  problems_.raise_if_any("an incomplete download?");
}

std::vector<std::string> ShardIndex::files() const {
  std::set<std::string> files;
  for (const auto& [tensor, file] : shard_of_) files.insert(file);
  return {files.begin(), files.end()};
}

void ShardIndex::add(const std::string& file, const std::vector<TensorView>& tensors, const Metadata& metadata) {
  for (const auto& tensor : tensors) found_in_[tensor.name].push_back(file);
  for (const auto& [key, value] : metadata) {
    const auto [known, added] = metadata_.emplace(key, value);
    if (!added && known->second != value) disputed_.insert(key);
  }
}

Metadata ShardIndex::finish() {
  for (const auto& [tensor, file] : shard_of_) {
    const auto found = found_in_.find(tensor);
    const bool there = found != found_in_.end() && std::ranges::find(found->second, file) != found->second.end();
    if (!there) problems_.add(fmt::format("tensor {} is not in shard {}, where the index puts it", quote(tensor), quote(file)));
  }
  for (const auto& [tensor, files] : found_in_) {
    if (!shard_of_.contains(tensor)) {
      problems_.add(fmt::format("tensor {} of shard {} is not in the index", quote(tensor), quote(files.front())));
    }
    if (files.size() > 1) {
      problems_.add(fmt::format("tensor {} is in more than one shard: {}", quote(tensor), fmt::join(files, ", ")));
    }
  }
  problems_.raise_if_any("index and shards of different versions?");
  for (const auto& key : disputed_) {
    log(LogLevel::warning, "io", fmt::format("{}: shards differ in metadata {}, which is left out", path_.string(), quote(key)));
    metadata_.erase(key);
  }
  return std::move(metadata_);
}

}  // namespace lowrank::io
