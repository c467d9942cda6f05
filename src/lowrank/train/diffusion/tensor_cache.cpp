#include "lowrank/train/diffusion/tensor_cache.h"

#include <algorithm>
#include <limits>

#include "lowrank/base/error.h"
#include "lowrank/base/hash.h"
#include "lowrank/base/log.h"
#include "lowrank/tensor/dtype.h"

namespace lowrank::train {

namespace fs = std::filesystem;

TensorCache::TensorCache(fs::path folder, int64_t kept_bytes)
    : folder_(std::move(folder)), room_(folder_.empty() ? std::numeric_limits<int64_t>::max() : kept_bytes) {}

// Two letters a folder, as git does, so that no folder holds too many files.
fs::path TensorCache::path_of(const std::string& key) const { return folder_ / key.substr(0, 2) / (key + ".safetensors"); }

bool TensorCache::has(const std::string& key) const { return kept_.contains(key) || (!folder_.empty() && fs::exists(path_of(key))); }

void TensorCache::keep(const std::string& key, const tensor::TensorMap& tensors) {
  int64_t bytes = 0;
  for (const auto& [name, value] : tensors) bytes += static_cast<int64_t>(value.nbytes());
  if (bytes > room_) return;
  room_ -= bytes;
  kept_.emplace(key, tensors);
}

tensor::TensorMap TensorCache::get(const std::string& key, const std::function<tensor::TensorMap()>& make) {
  if (const auto found = kept_.find(key); found != kept_.end()) return found->second;
  tensor::TensorMap tensors;
  if (has(key)) {
    try {
      tensors = tensor::load_tensors(path_of(key));
    } catch (const Error& error) {
      log(LogLevel::warning, "cache", fmt::format("{}: made anew, since it cannot be read: {}", path_of(key).string(), error.what()));
    }
  }
  if (tensors.empty()) {
    tensors = make();
    if (!folder_.empty()) {
      std::error_code failed;
      fs::create_directories(path_of(key).parent_path(), failed);
      check(!failed, ErrorKind::io, folder_.string(), "cannot make the cache's folder: {}", failed.message());
      tensor::save_tensors(path_of(key), tensors, {});
    }
  }
  keep(key, tensors);
  return tensors;
}

std::string weights_hash(const torch::nn::Module& module, size_t part) {
  Sha256 hash;
  for (const auto& parameter : module.named_parameters()) {
    const at::Tensor value = parameter.value().detach().cpu().contiguous();
    hash.update(fmt::format("{} {} {};", parameter.key(), tensor::dtype_name(value.scalar_type()), tensor::shape_text(value.sizes())));
    const std::span bytes(static_cast<const std::byte*>(value.const_data_ptr()), value.nbytes());
    hash.update(bytes.first(std::min(part, bytes.size())));
    if (part < bytes.size()) hash.update(bytes.last(part));
  }
  return hash.hex();
}

}  // namespace lowrank::train
