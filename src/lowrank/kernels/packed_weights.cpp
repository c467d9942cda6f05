#include "lowrank/kernels/packed_weights.h"

#include <map>
#include <mutex>
#include <tuple>

namespace lowrank::kernels {

namespace {

using Numbers = std::shared_ptr<const Buffer<at::BFloat16>>;
using Key = std::tuple<const void*, int64_t, int64_t, Packing>;  // memory, rows, columns

struct Kept {
  c10::weak_intrusive_ptr<c10::StorageImpl> storage;
  int64_t version;
  int64_t bytes;
  Numbers numbers;
};

class Shelf {
 public:
  Numbers find(const Key& key, const at::Tensor& weight) {
    const std::lock_guard lock(mutex_);
    const auto found = kept_.find(key);
    if (found == kept_.end()) return nullptr;
    const Kept& kept = found->second;
    const bool same = kept.storage.lock().get() == weight.storage().unsafeGetStorageImpl() && kept.version == weight._version();
    return same ? kept.numbers : nullptr;
  }

  /// Whether there is room, once what is no longer needed has gone.
  bool has_room(const Key& key, int64_t bytes) {
    const std::lock_guard lock(mutex_);
    kept_.erase(key);
    std::erase_if(kept_, [](const auto& entry) { return entry.second.storage.expired(); });
    return total() + bytes <= kMostKept;
  }

  void keep(const Key& key, const at::Tensor& weight, int64_t bytes, const Numbers& numbers) {
    const std::lock_guard lock(mutex_);
    kept_.emplace(key, Kept{weight.storage().getWeakStorageImpl(), weight._version(), bytes, numbers});
  }

  int64_t bytes() {
    const std::lock_guard lock(mutex_);
    return total();
  }

 private:
  int64_t total() const {
    int64_t sum = 0;
    for (const auto& [key, kept] : kept_) sum += kept.storage.expired() ? 0 : kept.bytes;
    return sum;
  }

  std::mutex mutex_;
  std::map<Key, Kept> kept_;
};

Shelf& shelf() {
  static Shelf all;
  return all;
}

}  // namespace

Numbers packed_weight(const at::Tensor& weight, const Packing& packing, int64_t size, const std::function<void(at::BFloat16*)>& pack) {
  const Key key{weight.const_data_ptr(), weight.size(0), weight.size(1), packing};
  if (weight.is_inference()) return nullptr;
  if (auto found = shelf().find(key, weight)) return found;
  const int64_t bytes = size * static_cast<int64_t>(sizeof(at::BFloat16));
  if (!shelf().has_room(key, bytes)) return nullptr;
  const auto numbers = std::make_shared<const Buffer<at::BFloat16>>(size);
  pack(numbers->get());
  shelf().keep(key, weight, bytes, numbers);
  return numbers;
}

int64_t kept_bytes() { return shelf().bytes(); }

}  // namespace lowrank::kernels
