#include "lowrank/tensor/block_pool.h"

#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <list>
#include <map>
#include <mutex>
#include <unordered_map>

namespace lowrank::tensor {

namespace {

constexpr size_t kLeast = 8 << 10;
constexpr size_t kMultiple = 1 << 10;

struct Block {
  void* data;
  size_t size;
};

class BlockPool : public at::Allocator {
 public:
  at::DataPtr allocate(size_t size) override {
    if (size < kLeast) return small_.allocate(size);
    void* data = taken((size + kMultiple - 1) / kMultiple * kMultiple);
    c10::profiledCPUMemoryReporter().New(data, size);
    return {data, data, &give_back, at::Device(at::kCPU)};
  }
  at::DeleterFnPtr raw_deleter() const override { return &give_back; }
  void copy_data(void* to, const void* from, size_t size) const override { default_copy_data(to, from, size); }

  void empty() {
    const std::lock_guard lock(mutex_);
    while (!free_.empty()) release_oldest();
  }

  size_t kept() {
    const std::lock_guard lock(mutex_);
    return kept_;
  }

 private:
  using Blocks = std::list<Block>;

  static void give_back(void* data);

  void* taken(size_t size) {
    const std::lock_guard lock(mutex_);
    if (const auto found = by_size_.lower_bound(size); found != by_size_.end() && found->first <= size + size / 8) {
      const Blocks::iterator block = found->second;
      void* data = block->data;
      kept_ -= block->size;
      used_ += block->size;
      in_use_[data] = block->size;
      by_size_.erase(found);
      free_.erase(block);
      return data;
    }
    while (!free_.empty() && kept_ + size > used_ / 4) release_oldest();
    void* data = c10::alloc_cpu(size);
    used_ += size;
    in_use_[data] = size;
    return data;
  }

  /// False for a block that is not this pool's.
  bool put(void* data) {
    const std::lock_guard lock(mutex_);
    const auto found = in_use_.find(data);
    if (found == in_use_.end()) return false;
    const size_t size = found->second;
    in_use_.erase(found);
    used_ -= size;
    kept_ += size;
    by_size_.emplace(size, free_.insert(free_.end(), {data, size}));
    return true;
  }

  void release_oldest() {
    const Block oldest = free_.front();
    const auto [first, last] = by_size_.equal_range(oldest.size);
    for (auto at = first; at != last; ++at) {
      if (at->second != free_.begin()) continue;
      by_size_.erase(at);
      break;
    }
    free_.pop_front();
    kept_ -= oldest.size;
    c10::free_cpu(oldest.data);
  }

  at::Allocator& small_ = *c10::GetDefaultCPUAllocator();
  std::mutex mutex_;
  Blocks free_;  // the first to be freed first
  std::multimap<size_t, Blocks::iterator> by_size_;
  std::unordered_map<void*, size_t> in_use_;
  size_t used_ = 0, kept_ = 0;
};

/// Lives as long as the last tensor, which may be longer than any static object.
BlockPool& pool() {
  static auto* const all = new BlockPool();
  return *all;
}

void BlockPool::give_back(void* data) {
  if (data == nullptr) return;
  c10::profiledCPUMemoryReporter().Delete(data);
  if (!pool().put(data)) c10::free_cpu(data);
}

}  // namespace

void install_block_pool() { c10::SetCPUAllocator(&pool(), /*priority=*/1); }

void empty_block_pool() { pool().empty(); }

int64_t pooled_bytes() { return static_cast<int64_t>(pool().kept()); }

}  // namespace lowrank::tensor
