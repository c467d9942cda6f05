// EXPECT_TRUE(close(actual, expected, tolerance)): |a − e| ≤ tolerance·max(1, |e|) everywhere, and the worst place if not.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/isfinite.h>
#include <cmath>
#include <gtest/gtest.h>
#include <sstream>

namespace lowrank::test {

inline testing::AssertionResult close(const at::Tensor& actual, const at::Tensor& expected, double tolerance) {
  if (!actual.defined() || !expected.defined()) return testing::AssertionFailure() << "a tensor is undefined";
  if (actual.sizes() != expected.sizes()) {
    return testing::AssertionFailure() << "expected shape " << expected.sizes() << ", got " << actual.sizes();
  }
  const at::Tensor a = actual.detach().to(at::kCPU, at::kDouble).contiguous(), e = expected.detach().to(at::kCPU, at::kDouble).contiguous();
  int64_t worst = 0;
  double largest = -1, absolute = 0, relative = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    const double got = a.const_data_ptr<double>()[i], want = e.const_data_ptr<double>()[i], difference = std::abs(got - want);
    const double scaled = std::isfinite(difference) ? difference / std::max(1.0, std::abs(want)) : INFINITY;
    absolute = std::max(absolute, difference);
    if (want != 0) relative = std::max(relative, difference / std::abs(want));
    if (scaled > largest) worst = i, largest = scaled;
  }
  if (largest <= tolerance) return testing::AssertionSuccess();
  std::ostringstream index;
  for (int64_t rest = worst, d = 0, stride = a.numel(); d < a.dim(); ++d) {
    stride /= a.size(d);
    index << (d ? ", " : "") << rest / stride;
    rest %= stride;
  }
  return testing::AssertionFailure() << "worst at [" << index.str() << "]: got " << a.const_data_ptr<double>()[worst] << ", expected "
                                     << e.const_data_ptr<double>()[worst] << "; largest absolute error " << absolute << ", relative "
                                     << relative << ", tolerance " << tolerance;
}

}  // namespace lowrank::test
