#include "lowrank/tensor/block_pool.h"

#include <algorithm>
#include <array>
#include <bit>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <deque>
#include <mutex>
#include <new>

namespace lowrank::tensor {

namespace {

constexpr size_t kLine = 64;
constexpr int kSteps = 16;  // sizes from one power of two to the next

/// A size, rounded up to whole cache lines and by a sixteenth at most, and its number.
struct SizeClass {
  explicit SizeClass(size_t least) {
    const size_t size = std::max(2 * kLine, (least + kLine - 1) / kLine * kLine);
    const int power = std::bit_width(size - 1) - 1;
    const size_t step = (size_t{1} << power) / kSteps, steps = (size + step - 1) / step;  // 17 … 32
    bytes = steps * step;
    number = static_cast<size_t>(power) * kSteps + steps - kSteps - 1;
  }
  size_t bytes, number;
};

/// In front of a tensor's numbers, on a cache line of its own.
struct alignas(kLine) Block {
  SizeClass size;
  Block *older = nullptr, *newer = nullptr;  // while it is free

  void* data() { return this + 1; }
  static Block* of(void* data) { return static_cast<Block*>(data) - 1; }
};

class BlockPool : public at::Allocator {
 public:
  at::DataPtr allocate(size_t size) override {
    if (size == 0) return {nullptr, at::Device(at::kCPU)};
    void* data = taken(SizeClass(size))->data();
    c10::profiledCPUMemoryReporter().New(data, size);
    return {data, data, &give_back, at::Device(at::kCPU)};
  }
  at::DeleterFnPtr raw_deleter() const override { return &give_back; }
  void copy_data(void* to, const void* from, size_t size) const override { default_copy_data(to, from, size); }

  void empty() {
    const std::lock_guard lock(mutex_);
    while (oldest_ != nullptr) release_oldest();
  }

  size_t kept() {
    const std::lock_guard lock(mutex_);
    return kept_;
  }

 private:
  static void give_back(void* data);

  Block* taken(const SizeClass& size) {
    const std::lock_guard lock(mutex_);
    used_ += size.bytes;
    std::deque<Block*>& free = free_[size.number];
    if (!free.empty()) {
      Block* block = free.back();
      free.pop_back();
      unlink(block);
      return block;
    }
    while (oldest_ != nullptr && kept_ + size.bytes > used_ / 4) release_oldest();
    return new (c10::alloc_cpu(sizeof(Block) + size.bytes)) Block{size};
  }

  void put(Block* block) {
    const std::lock_guard lock(mutex_);
    used_ -= block->size.bytes;
    kept_ += block->size.bytes;
    free_[block->size.number].push_back(block);
    block->older = newest_;
    block->newer = nullptr;
    (newest_ == nullptr ? oldest_ : newest_->newer) = block;
    newest_ = block;
  }

  void unlink(Block* block) {
    kept_ -= block->size.bytes;
    (block->older == nullptr ? oldest_ : block->older->newer) = block->newer;
    (block->newer == nullptr ? newest_ : block->newer->older) = block->older;
  }

  void release_oldest() {
    Block* block = oldest_;
    free_[block->size.number].pop_front();  // of one size the oldest lies in front
    unlink(block);
    c10::free_cpu(block);
  }

  std::mutex mutex_;
  std::array<std::deque<Block*>, size_t{64} * kSteps> free_;  // by size
  Block *oldest_ = nullptr, *newest_ = nullptr;
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
  pool().put(Block::of(data));
}

}  // namespace

void install_block_pool() { c10::SetCPUAllocator(&pool(), /*priority=*/1); }

void empty_block_pool() { pool().empty(); }

int64_t pooled_bytes() { return static_cast<int64_t>(pool().kept()); }

}  // namespace lowrank::tensor
