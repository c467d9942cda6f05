#include "lowrank/tensor/parallel.h"

#include <ATen/Parallel.h>
#include <atomic>
#include <chrono>
#include <gtest/gtest.h>
#include <stdexcept>
#include <thread>
#include <vector>

namespace lowrank::tensor {
namespace {

class Parallel : public testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(2); }
  void TearDown() override { at::set_num_threads(before_); }
  int before_ = at::get_num_threads();
};

TEST_F(Parallel, VisitsEachItemOnce) {
  std::vector<std::atomic<int>> seen(1000);
  parallel_for(10, 997, 7, [&](int64_t first, int64_t last) {
    EXPECT_LE(last - first, 7);
    for (int64_t i = first; i < last; ++i) ++seen[static_cast<size_t>(i)];
  });
  for (int64_t i = 0; i < 1000; ++i) EXPECT_EQ(seen[static_cast<size_t>(i)], i >= 10 && i < 997) << i;
  parallel_for(5, 5, 1, [](int64_t, int64_t) { FAIL(); });
}

TEST_F(Parallel, RunsOnTwoThreadsAtATime) {
  std::atomic<int> here = 0;
  parallel_for(0, 2, 1, [&](int64_t, int64_t) {
    EXPECT_TRUE(at::in_parallel_region());
    ++here;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);  // one thread alone would wait in vain
    while (here < 2 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    EXPECT_EQ(here, 2);
  });
}

TEST_F(Parallel, IsSerialInsideItself) {
  parallel_for(0, 2, 1, [](int64_t, int64_t) {
    const auto here = std::this_thread::get_id();
    parallel_for(0, 8, 1, [&](int64_t, int64_t) { EXPECT_EQ(std::this_thread::get_id(), here); });
  });
}

TEST_F(Parallel, ThrowsWhatTheBodyThrew) {
  EXPECT_THROW(parallel_for(0, 100, 1,
                            [](int64_t first, int64_t) {
                              if (first == 50) throw std::runtime_error("50");
                            }),
               std::runtime_error);
}

}  // namespace
}  // namespace lowrank::tensor
