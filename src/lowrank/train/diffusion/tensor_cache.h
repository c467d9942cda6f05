// Tensors that are dear to compute, filed under a hash of all that they depend on: what is found is never stale, and what was
// finished before a stop is found again.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <torch/nn/module.h>

#include "lowrank/tensor/load.h"

namespace lowrank::train {

class TensorCache {
 public:
  /// Files go to `folder`, which is made when the first is written; "" keeps all in memory. Up to `kept_bytes` of what was used stay in
  /// memory too.
  explicit TensorCache(std::filesystem::path folder, int64_t kept_bytes = int64_t{512} << 20);

  bool has(const std::string& key) const;
  /// Bytes that may still be kept in memory.
  int64_t room() const { return room_; }
  /// The tensors filed under `key`; make()'s when there are none, which are then filed, whole or not at all. A file that cannot be
  /// read is made anew, with a warning. Throws what make throws, and Error{io} when the file cannot be written.
  tensor::TensorMap get(const std::string& key, const std::function<tensor::TensorMap()>& make);

 private:
  std::filesystem::path path_of(const std::string& key) const;
  void keep(const std::string& key, const tensor::TensorMap& tensors);

  std::filesystem::path folder_;
  int64_t room_;
  std::map<std::string, tensor::TensorMap> kept_;
};

/// SHA-256 over every parameter's name, dtype, shape and bytes, or only the first and last `part` bytes of each.
std::string weights_hash(const torch::nn::Module& module, size_t part = std::string::npos);

}  // namespace lowrank::train
