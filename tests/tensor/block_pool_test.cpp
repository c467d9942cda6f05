#include "lowrank/tensor/block_pool.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>
#include <thread>

#include "lowrank/tensor/memory.h"

namespace lowrank::tensor {
namespace {

constexpr int64_t kKilobyte = 1 << 10, kMegabyte = 1 << 20;

at::Tensor bytes(int64_t count) { return at::empty({count}, at::kByte); }

/// The pool is the process's own: these tests keep enough in use that it may keep what they free.
class BlockPoolTest : public testing::Test {
 protected:
  BlockPoolTest() : in_use_(bytes(64 * kMegabyte)) { empty_block_pool(); }
  at::Tensor in_use_;
};

TEST_F(BlockPoolTest, FreedBlockServesTheNextOfItsSize) {
  at::Tensor first = bytes(kMegabyte);
  const void* data = first.data_ptr();
  first.reset();
  EXPECT_EQ(pooled_bytes(), kMegabyte);
  EXPECT_EQ(bytes(kMegabyte).data_ptr(), data);
  EXPECT_EQ(bytes(kMegabyte - kMegabyte / 40).data_ptr(), data) << "rounded up to the same";
  EXPECT_EQ(pooled_bytes(), kMegabyte);
  const at::Tensor smaller = bytes(kMegabyte / 2), larger = bytes(kMegabyte + 1);
  EXPECT_NE(smaller.data_ptr(), data);
  EXPECT_NE(larger.data_ptr(), data);
  EXPECT_EQ(pooled_bytes(), kMegabyte);
}

TEST_F(BlockPoolTest, EverySizeIsRoomy) {
  for (int64_t size = 1; size < 5 * kMegabyte; size += 1 + size / 7) {
    const at::Tensor block = at::full({size}, 7, at::kByte), next = at::full({size}, 8, at::kByte);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block.data_ptr()) % 64, 0) << size;
    EXPECT_TRUE(block.eq(7).all().item<bool>()) << size;
  }
  EXPECT_EQ(bytes(0).data_ptr(), nullptr);
}

TEST_F(BlockPoolTest, OldestMakeRoomForNewOnes) {
  for (int64_t i = 0; i < 40; ++i) {
    bytes((1 + 2 * i) * kMegabyte);
    const int64_t rounded = (1 + 2 * i) * kMegabyte * 17 / 16;
    EXPECT_LE(pooled_bytes(), std::max((64 * kMegabyte + rounded) / 4, rounded)) << i;
  }
  const int64_t before = pooled_bytes();
  bytes(79 * kMegabyte);
  EXPECT_EQ(pooled_bytes(), before) << "the last is kept";
}

TEST_F(BlockPoolTest, GivesAllBack) {
  bytes(5 * kMegabyte);
  EXPECT_GT(pooled_bytes(), 0);
  return_free_memory();
  EXPECT_EQ(pooled_bytes(), 0);
}

TEST_F(BlockPoolTest, ThreadsShareIt) {
  const auto work = [](int64_t number) {
    for (int64_t i = 0; i < 200; ++i) {
      const at::Tensor mine = at::full({64 * (1 + (number + i) % 5) * kKilobyte}, number, at::kByte);
      EXPECT_TRUE(mine.eq(number).all().item<bool>());
    }
  };
  std::thread other(work, 1);
  work(2);
  other.join();
}

}  // namespace
}  // namespace lowrank::tensor
