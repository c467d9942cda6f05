#include "lowrank/study/statistics.h"

#include <cmath>
#include <filesystem>
#include <limits>

#include "support/expect_error.h"

#include "lowrank/base/json.h"

namespace lowrank::study {
namespace {

// One value for the program's life: a loop over golden()["x"] must not outlive what it walks.
const Json& golden() {
  static const Json value = read_json(std::filesystem::path(LOWRANK_SOURCE_DIR) / "tests/golden/statistics.json");
  return value;
}

void expect_interval(const Interval& actual, const Json& expected) {
  EXPECT_NEAR(actual.low, expected[0].get<double>(), 1e-7);
  EXPECT_NEAR(actual.high, expected[1].get<double>(), 1e-7);
}

TEST(Statistics, TwoWayEstimateEqualsStatsmodelsAndScipy) {
  const Json cases = golden();
  ASSERT_EQ(cases["two_way"].size(), 5u);
  for (const Json& item : cases["two_way"]) {
    const auto values = item["values"].get<Matrix>();
    const MeanSquares squares = mean_squares(values);
    EXPECT_NEAR(squares.seed, item["ms_seed"].get<double>(), 1e-10);
    EXPECT_NEAR(squares.item, item["ms_item"].get<double>(), 1e-10);
    EXPECT_NEAR(squares.residual, item["ms_residual"].get<double>(), 1e-10);
    const Estimate estimate = two_way_estimate(values);
    EXPECT_NEAR(estimate.mean, item["mean"].get<double>(), 1e-12);
    EXPECT_NEAR(estimate.seed_error, item["seed_error"].get<double>(), 1e-10);
    EXPECT_NEAR(estimate.item_error, item["item_error"].get<double>(), 1e-10);
    expect_interval(estimate.interval, item["interval"]);
    expect_interval(interval_at(estimate, 0.99), item["interval_99"]);
    EXPECT_NEAR(p_value(estimate), item["p"].get<double>(), 1e-8);
  }
}

TEST(Statistics, MeanEstimateEqualsScipy) {
  for (const Json& item : golden()["mean"]) {
    const Estimate estimate = mean_estimate(item["values"].get<std::vector<double>>());
    EXPECT_NEAR(estimate.mean, item["mean"].get<double>(), 1e-12);
    expect_interval(estimate.interval, item["interval"]);
    EXPECT_NEAR(p_value(estimate), item["p"].get<double>(), 1e-9);
  }
}

TEST(Statistics, HolmEqualsStatsmodels) {
  for (const Json& item : golden()["holm"]) {
    const auto adjusted = holm(item["p"].get<std::vector<double>>());
    ASSERT_EQ(adjusted.size(), item["adjusted"].size());
    for (size_t i = 0; i < adjusted.size(); ++i) EXPECT_NEAR(adjusted[i], item["adjusted"][i].get<double>(), 1e-12);
  }
}

TEST(Statistics, IntervalEndsWhereThePValueReachesItsLevel) {
  const Matrix values{{1, 0, 1, 1, 0, 0}, {1, 0, 1, 0, 0, 0}, {1, 1, 1, 1, 0, 1}};
  Estimate estimate = two_way_estimate(values);
  EXPECT_GT(estimate.seed_error, 0);
  EXPECT_GT(estimate.item_error, 0);
  estimate.mean -= estimate.interval.low;
  EXPECT_NEAR(p_value(estimate), 0.05, 1e-7);
}

TEST(Statistics, OneSeedCoversItemsAloneAndSaysSo) {
  const Estimate estimate = two_way_estimate({{1, 0, 1, 1}});
  EXPECT_EQ(estimate.seeds, 1);
  EXPECT_EQ(estimate.items, 4);
  EXPECT_DOUBLE_EQ(estimate.mean, 0.75);
  EXPECT_NEAR(estimate.item_error, 0.25, 1e-12);  // s = 0.5, n = 4
  EXPECT_EQ(estimate.seed_error, 0);
}

TEST(Statistics, OneValueHasNoFiniteInterval) {
  const std::vector<double> one{0.5};
  EXPECT_TRUE(std::isinf(mean_estimate(one).interval.high));
  EXPECT_EQ(p_value(mean_estimate(one)), 1);
  EXPECT_TRUE(std::isnan(noise_floor(one, one)));
}

TEST(Statistics, EqualPredictionsGiveNoDifference) {
  const Matrix values{{1, 0, 1}, {1, 1, 0}};
  const Estimate estimate = two_way_estimate(difference(values, values));
  EXPECT_EQ(estimate.mean, 0);
  EXPECT_EQ(p_value(estimate), 1);
}

TEST(Statistics, ErrorsTellWhatMoreSeedsOrItemsWouldBuy) {
  const Estimate items_agree = two_way_estimate({{0.1, 0.1, 0.1}, {0.5, 0.5, 0.5}});
  EXPECT_EQ(items_agree.item_error, 0);
  EXPECT_NEAR(items_agree.seed_error, 0.2, 1e-12);  // s = 0.4/√2, over √2
  const Estimate seeds_agree = two_way_estimate({{1, 0, 1}, {1, 0, 1}});
  EXPECT_EQ(seeds_agree.seed_error, 0);
  EXPECT_NEAR(seeds_agree.item_error, 1.0 / 3, 1e-12);  // s = 1/√3, over √3
}

// All 27 x 27 resamples of a 3 x 3 table have equal probability, so the exact quantiles can be listed.
TEST(Statistics, BootstrapAgreesWithFullEnumeration) {
  const Matrix values{{1, 0.3, -0.6}, {0.8, -0.1, 0}, {0.2, 0.9, -1}};
  std::vector<double> means;
  for (int rows = 0; rows < 27; ++rows) {
    for (int columns = 0; columns < 27; ++columns) {
      double sum = 0;
      for (const int s : {rows % 3, rows / 3 % 3, rows / 9}) {
        for (const int i : {columns % 3, columns / 3 % 3, columns / 9}) sum += values[static_cast<size_t>(s)][static_cast<size_t>(i)];
      }
      means.push_back(sum / 9);
    }
  }
  const Interval exact{quantile(means, 0.025), quantile(means, 0.975)};
  const Interval drawn = two_way_bootstrap(values, 50000, 1);
  EXPECT_NEAR(drawn.low, exact.low, 0.02);
  EXPECT_NEAR(drawn.high, exact.high, 0.02);
  EXPECT_EQ(two_way_bootstrap(values, 100, 1).low, two_way_bootstrap(values, 100, 1).low);
}

TEST(Statistics, PooledSeedVarianceOfTwoMethodsIsTheirOwn) {
  const Matrix a{{1, 0, 1, 1}, {0, 0, 1, 1}, {1, 1, 1, 1}}, b{{1, 1, 0, 0}, {1, 0, 0, 1}, {1, 0, 1, 1}};
  const Matrix scores{{0.75, 0.5, 1.0}, {0.5, 0.5, 0.75}};  // means of the rows above
  const PooledSeeds pooled = pool_seeds(scores);
  EXPECT_EQ(pooled.degrees, 2);
  EXPECT_NEAR(pooled.variance, mean_squares(difference(a, b)).seed / 4, 1e-12);
  EXPECT_NEAR(p_value(two_way_estimate(difference(a, b), 0.95, pooled)), p_value(two_way_estimate(difference(a, b))), 1e-12);
  EXPECT_EQ(pool_seeds({{0.75, 0.5, 1.0}}).degrees, 0);
}

TEST(Statistics, PooledVarianceRaisesASeedErrorThatIsSmallByLuck) {
  const Matrix lucky{{1, 0, 1}, {1, 0, 1}, {0, 1, 1}};  // all three seeds score 2/3
  EXPECT_NEAR(two_way_estimate(lucky).seed_error, 0, 1e-12);
  const Estimate pooled = two_way_estimate(lucky, 0.95, {.variance = 0.12, .degrees = 8});
  EXPECT_NEAR(pooled.seed_error, 0.2, 1e-12);
  EXPECT_EQ(pooled.seed_degrees, 8);
}

TEST(Statistics, NoiseFloorFollowsItsFormula) {
  const std::vector<double> a{0.80, 0.82, 0.84}, b{0.81, 0.81, 0.81};
  // s² = (0.0004 + 0) / 2, t(0.975, 4) = 2.7764451
  EXPECT_NEAR(noise_floor(a, b), 2.7764451 * std::sqrt(2.0 / 3 * 0.0002), 1e-9);
}

TEST(Statistics, RefusesWhatCannotBePaired) {
  EXPECT_LOWRANK_ERROR(two_way_estimate({}), ErrorKind::invalid_argument, "at least 1 seeds, got 0");
  EXPECT_LOWRANK_ERROR(two_way_estimate({{1, 2}, {1, 2, 3}}), ErrorKind::invalid_argument, "the same test items");
  EXPECT_LOWRANK_ERROR(difference({{1, 2}}, {{1, 2}, {3, 4}}), ErrorKind::invalid_argument, "got 1x2 and 2x2");
  EXPECT_LOWRANK_ERROR(noise_floor(std::vector<double>{1}, std::vector<double>{1, 2}), ErrorKind::invalid_argument, "1 and 2");
  EXPECT_LOWRANK_ERROR(quantile({}, 0.5), ErrorKind::invalid_argument, "0 values");
}

}  // namespace
}  // namespace lowrank::study
