// The `*.index.json` of a sharded model: {"metadata": {…}, "weight_map": {tensor: shard file}}, and its agreement with
// the shards. "metadata" (total_size) is not believed: sizes come from the shards.
// Source: huggingface_hub `split_torch_state_dict_into_shards`, transformers `get_checkpoint_shard_files`.
#pragma once

#include <set>

#include "lowrank/base/error.h"
#include "lowrank/io/tensor_file.h"

namespace lowrank::io {

class ShardIndex {
 public:
  /// Throws Error{file_format} listing what is wrong with the index: its form, shards outside its folder or missing.
  explicit ShardIndex(const std::filesystem::path& path);

  /// Sorted, each once, relative to the index.
  std::vector<std::string> files() const;
  /// Compares one shard's content with the index.
  void add(const std::string& file, const std::vector<TensorView>& tensors, const Metadata& metadata);
  /// The metadata of the set. Throws Error{file_format} listing every disagreement between index and shards.
  Metadata finish();

 private:
  std::filesystem::path path_;
  Problems problems_;
  std::map<std::string, std::string> shard_of_;               // tensor → file, as the index says
  std::map<std::string, std::vector<std::string>> found_in_;  // tensor → files that hold it
  Metadata metadata_;
  std::set<std::string> disputed_;  // metadata keys on which shards differ
};

}  // namespace lowrank::io
