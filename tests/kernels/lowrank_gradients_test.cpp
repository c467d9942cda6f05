#include "lowrank/kernels/lowrank_gradients.h"

#include <ATen/Parallel.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

namespace lowrank::kernels {
namespace {

struct Case {
  int64_t rows, rank;
  bool gain, mix;
  at::ScalarType dtype = at::kDouble;
};

class LowRankGradientsOf : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const Case& c = GetParam();
    at::manual_seed(5);
    const int64_t l = c.mix ? 4 : 1, m = c.mix ? 3 : 1, k = 10, n = 14;
    const auto random = [&](at::IntArrayRef shape) { return at::randn(shape, c.dtype); };
    update = {random({c.rank, n}), random({k, c.rank}), c.gain ? random({k}) : at::Tensor(), c.mix ? random({l, m}) : at::Tensor(), 0.3};
    if (c.gain) update.gain[2] = 0;
    request.x = random({c.rows, m * n});
    request.dy = random({c.rows, l * k});
    request.bias = random({l * k});
    request.dbias = request.g = true;
    if (c.gain) request.y = random({c.rows, k});
  }

  static std::vector<at::Tensor> list(const LowRankGradients& g) { return {g.dA, g.dB, g.dgain, g.dmix, g.dbias, g.g}; }

  LowRankUpdate update;
  GradientRequest request;
};

/// The same numbers in float64.
std::pair<LowRankUpdate, GradientRequest> widened(const LowRankUpdate& u, const GradientRequest& r) {
  const auto wide = [](const at::Tensor& t) { return t.defined() ? t.to(at::kDouble) : t; };
  return {{wide(u.A), wide(u.B), wide(u.gain), wide(u.mix), u.scale},
          {.x = wide(r.x), .dy = wide(r.dy), .h = {}, .y = wide(r.y), .bias = wide(r.bias), .dbias = r.dbias, .g = r.g}};
}

TEST_P(LowRankGradientsOf, OnePassEqualsTheSeriesOfProducts) {
  const auto [wide_update, wide_request] = widened(update, request);
  const auto got = list(lowrank_gradients(update, request)), wanted = list(plain_lowrank_gradients(wide_update, wide_request));
  // bfloat16: A, B and rank-space rows are rounded before they are multiplied; observed up to 5e-3.
  const double limit = GetParam().dtype == at::kBFloat16 ? 1e-2 : GetParam().dtype == at::kFloat ? 1e-5 : 1e-13;
  for (size_t i = 0; i < wanted.size(); ++i) {
    ASSERT_EQ(got[i].defined(), wanted[i].defined()) << i;
    if (!wanted[i].defined()) continue;
    ASSERT_EQ(got[i].sizes(), wanted[i].sizes()) << i;
    EXPECT_LT((got[i] - wanted[i]).norm().item<double>(), limit * wanted[i].norm().item<double>()) << i;
  }
}

TEST_P(LowRankGradientsOf, DoesNotDependOnTheThreads) {
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const auto one = list(lowrank_gradients(update, request));
  at::set_num_threads(2);
  const auto two = list(lowrank_gradients(update, request));
  at::set_num_threads(threads);
  for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(!one[i].defined() || at::equal(one[i], two[i])) << i;
}

INSTANTIATE_TEST_SUITE_P(Forms, LowRankGradientsOf,
                         testing::Values(Case{1, 1, false, false}, Case{7, 4, false, true}, Case{7, 3, true, false},
                                         Case{500, 16, false, false}, Case{500, 5, true, false}, Case{500, 20, false, true},
                                         Case{500, 16, false, false, at::kFloat}, Case{333, 9, true, false, at::kFloat},
                                         Case{1001, 24, false, true, at::kFloat}, Case{1, 4, false, false, at::kBFloat16},
                                         Case{501, 16, true, false, at::kBFloat16}, Case{333, 9, true, false, at::kBFloat16},
                                         Case{1001, 24, false, true, at::kBFloat16}, Case{600, 16, false, true, at::kBFloat16}));

}  // namespace
}  // namespace lowrank::kernels
