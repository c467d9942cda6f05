#include "lowrank/base/random.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>

namespace lowrank {
namespace {

TEST(RandomStream, DependsOnEveryPartOfItsKeyAndNothingElse) {
  const uint64_t first = RandomStream(1, "shuffle", 2, 3).next_u64();
  EXPECT_EQ(first, RandomStream(1, "shuffle", 2, 3).next_u64());
  EXPECT_NE(first, RandomStream(2, "shuffle", 2, 3).next_u64());
  EXPECT_NE(first, RandomStream(1, "init", 2, 3).next_u64());
  EXPECT_NE(first, RandomStream(1, "shuffle", 3, 3).next_u64());
  EXPECT_NE(first, RandomStream(1, "shuffle", 2, 4).next_u64());
}

TEST(RandomStream, MomentsAreThoseOfTheDistribution) {
  RandomStream stream(7, "test");
  constexpr int kDraws = 200000;
  double sum = 0, squares = 0, uniform_sum = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double x = stream.normal();
    sum += x;
    squares += x * x;
    uniform_sum += stream.uniform();
  }
  EXPECT_NEAR(sum / kDraws, 0.0, 0.01);  // 4.5 standard errors
  EXPECT_NEAR(squares / kDraws, 1.0, 0.015);
  EXPECT_NEAR(uniform_sum / kDraws, 0.5, 0.003);
}

TEST(RandomStream, PermutationHoldsEveryIndexOnce) {
  auto order = RandomStream(3, "shuffle").permutation(1000);
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
  std::sort(order.begin(), order.end());
  for (int64_t i = 0; i < 1000; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

}  // namespace
}  // namespace lowrank
