#include "lowrank/kernels/exponential.h"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <vector>

namespace lowrank::kernels {
namespace {

TEST(Exponential, IsTheLibrarysToTwoUnitsAndItsSumIsTheirs) {
  for (const int64_t count : {1, 7, 64, 1001}) {
    std::vector<float> x(static_cast<size_t>(count));
    for (int64_t j = 0; j < count; ++j) x[j] = static_cast<float>(-170 + 170.0 * static_cast<double>(j) / static_cast<double>(count));
    std::vector<float> y = x;
    const float sum = exponentials(y.data(), count, 0.5F, 0.25F);
    double wanted = 0;
    for (size_t j = 0; j < x.size(); ++j) {
      const double exact = std::exp(0.5 * x[j] - 0.25);
      wanted += exact;
      // Rounding the argument, which may be 85, to float32 alone moves the result by 4e-6 of itself.
      EXPECT_NEAR(y[j], exact, exact * (2.4e-7 + 6e-8 * std::abs(0.5 * x[j] - 0.25))) << x[j];
    }
    EXPECT_NEAR(sum, wanted, 1e-5 * wanted);
  }
}

TEST(Exponential, StaysFiniteBeyondTheRangeAndKeepsNaN) {
  float x[] = {-1e30F, 1e30F, std::numeric_limits<float>::quiet_NaN()};
  EXPECT_TRUE(std::isnan(exponentials(x, 3, 1, 0)));
  EXPECT_LT(x[0], 1e-37F);
  EXPECT_GT(x[1], 1e38F);
  EXPECT_TRUE(std::isfinite(x[1]));
  EXPECT_TRUE(std::isnan(x[2]));
}

TEST(Largest, IsFoundAtEveryPlace) {
  for (size_t at = 0; at < 40; ++at) {
    std::vector<float> x(40, -2.0F);
    x[at] = -1.0F;
    EXPECT_EQ(largest(x.data(), 40), -1.0F) << at;
  }
}

}  // namespace
}  // namespace lowrank::kernels
