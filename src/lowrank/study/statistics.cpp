#include "lowrank/study/statistics.h"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <boost/math/quadrature/gauss.hpp>
#include <boost/math/special_functions/gamma.hpp>
#include <boost/math/tools/roots.hpp>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "lowrank/base/error.h"
#include "lowrank/base/random.h"

namespace lowrank::study {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Boost computes doubles in long double unless told otherwise: ten digits more, and several times the time.
using StudentT = boost::math::students_t_distribution<double, boost::math::policies::policy<boost::math::policies::promote_double<false>>>;

double square(double value) { return value * value; }

double mean_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::vector<double> row_means(const Matrix& values) {
  std::vector<double> means;
  for (const auto& row : values) means.push_back(mean_of(row));
  return means;
}

std::vector<double> column_means(const Matrix& values) {
  std::vector<double> means(values.front().size(), 0.0);
  for (const auto& row : values) {
    for (size_t i = 0; i < row.size(); ++i) means[i] += row[i] / static_cast<double>(values.size());
  }
  return means;
}

void verify(const Matrix& values, size_t least_seeds) {
  check(values.size() >= least_seeds, ErrorKind::invalid_argument, "statistics", "expected at least {} seeds, got {}", least_seeds,
        values.size());
  for (const auto& row : values) {
    check(row.size() >= 2 && row.size() == values.front().size(), ErrorKind::invalid_argument, "statistics",
          "expected the same test items (two or more) for every seed, got {} and {}", values.front().size(), row.size());
  }
}

double t_quantile(double degrees_of_freedom, double level) { return boost::math::quantile(StudentT(degrees_of_freedom), 0.5 + level / 2); }

struct Term {  // scale · t(degrees)
  double scale, degrees;
  double above(double x) const { return boost::math::cdf(boost::math::complement(StudentT(degrees), x / scale)); }
};

/// P(wide + narrow > x) for independent terms. Integrated over the narrow one, so that the other factor is smooth; t = √ν tan θ turns
/// its density into cos^(ν-1) θ over a finite range, of which 12 standard deviations are kept.
double above(Term wide, Term narrow, double x) {
  if (wide.scale < narrow.scale) std::swap(wide, narrow);
  if (narrow.scale == 0) return wide.scale == 0 ? (x < 0 ? 1 : 0) : wide.above(x);
  const double degrees = narrow.degrees, root = std::sqrt(degrees), end = std::min(std::numbers::pi / 2, 12 / root);
  const auto integrand = [&](double angle) {
    return std::pow(std::cos(angle), degrees - 1) * wide.above(x - narrow.scale * root * std::tan(angle));
  };
  const double norm = boost::math::tgamma_ratio((degrees + 1) / 2, degrees / 2) / std::sqrt(std::numbers::pi);
  return norm * boost::math::quadrature::gauss<double, 60>::integrate(integrand, -end, end);
}

Term seed_term(const Estimate& estimate) { return {estimate.seed_error, std::max(1.0, estimate.seed_degrees)}; }
Term item_term(const Estimate& estimate) { return {estimate.item_error, std::max(1.0, static_cast<double>(estimate.items - 1))}; }

}  // namespace

MeanSquares mean_squares(const Matrix& values) {
  verify(values, 2);
  const auto seeds = static_cast<double>(values.size()), items = static_cast<double>(values.front().size());
  const auto rows = row_means(values), columns = column_means(values);
  const double mean = mean_of(rows);
  MeanSquares result;
  for (const double row : rows) result.seed += items * square(row - mean) / (seeds - 1);
  for (const double column : columns) result.item += seeds * square(column - mean) / (items - 1);
  for (size_t s = 0; s < values.size(); ++s) {
    for (size_t i = 0; i < columns.size(); ++i) {
      result.residual += square(values[s][i] - rows[s] - columns[i] + mean) / ((seeds - 1) * (items - 1));
    }
  }
  return result;
}

PooledSeeds pool_seeds(const Matrix& scores) {
  if (scores.size() < 2 || scores.front().size() < 2) return {};
  const auto methods = static_cast<double>(scores.size()), seeds = static_cast<double>(scores.front().size());
  return {2 * mean_squares(scores).residual, (methods - 1) * (seeds - 1)};
}

Estimate two_way_estimate(const Matrix& values, double level, PooledSeeds pooled) {
  verify(values, 1);
  Estimate result{.mean = mean_of(row_means(values)),
                  .seeds = static_cast<int64_t>(values.size()),
                  .items = static_cast<int64_t>(values.front().size())};
  const auto cells = static_cast<double>(result.seeds * result.items);
  if (result.seeds == 1) {
    result.item_error = standard_deviation(values.front()) / std::sqrt(cells);
  } else {
    const MeanSquares squares = mean_squares(values);
    const auto seeds = static_cast<double>(result.seeds), items = static_cast<double>(result.items);
    result.seed_error = std::sqrt(std::max(squares.seed / items, pooled.variance) / seeds);
    result.seed_degrees = std::max(seeds - 1, pooled.degrees);
    result.item_error = std::sqrt(std::max(squares.item - squares.residual, 0.0) / cells);
  }
  result.interval = interval_at(result, level);
  return result;
}

Estimate mean_estimate(std::span<const double> values, double level) {
  check(!values.empty(), ErrorKind::invalid_argument, "statistics", "expected at least one value, got none");
  Estimate result{.mean = mean_of(values),
                  .seed_error = kInfinity,
                  .seed_degrees = static_cast<double>(values.size()) - 1,
                  .seeds = static_cast<int64_t>(values.size()),
                  .items = 1};
  if (values.size() > 1) result.seed_error = standard_deviation(values) / std::sqrt(static_cast<double>(values.size()));
  result.interval = interval_at(result, level);
  return result;
}

Interval interval_at(const Estimate& estimate, double level) {
  if (!std::isfinite(estimate.seed_error)) return {-kInfinity, kInfinity};
  const Term seed = seed_term(estimate), item = item_term(estimate);
  // Half-widths add at most; each alone is a lower bound.
  const double by_seed = seed.scale * t_quantile(seed.degrees, level), by_item = item.scale * t_quantile(item.degrees, level);
  double half = std::max(by_seed, by_item);
  if (std::min(by_seed, by_item) > 0) {
    const auto gap = [&](double x) { return above(seed, item, x) - (1 - level) / 2; };
    std::uintmax_t steps = 50;
    const auto root = boost::math::tools::toms748_solve(gap, half * 0.999, (by_seed + by_item) * 1.001,
                                                        boost::math::tools::eps_tolerance<double>(30), steps);
    half = (root.first + root.second) / 2;
  }
  return {estimate.mean - half, estimate.mean + half};
}

double p_value(const Estimate& estimate) {
  if (!std::isfinite(estimate.seed_error) || estimate.mean == 0) return 1;
  return std::min(1.0, 2 * above(seed_term(estimate), item_term(estimate), std::abs(estimate.mean)));
}

Interval two_way_bootstrap(const Matrix& values, int64_t draws, uint64_t seed, double level) {
  verify(values, 1);
  check(draws >= 1, ErrorKind::invalid_argument, "statistics", "expected at least one bootstrap draw, got {}", draws);
  const size_t seeds = values.size(), items = values.front().size();
  std::vector<double> means, columns(items);
  for (int64_t draw = 0; draw < draws; ++draw) {
    RandomStream stream(seed, "study:bootstrap", static_cast<uint64_t>(draw));
    std::fill(columns.begin(), columns.end(), 0.0);
    for (size_t s = 0; s < seeds; ++s) {
      const auto& row = values[stream.below(seeds)];
      for (size_t i = 0; i < items; ++i) columns[i] += row[i];
    }
    double sum = 0;
    for (size_t i = 0; i < items; ++i) sum += columns[stream.below(items)];
    means.push_back(sum / static_cast<double>(seeds * items));
  }
  return {quantile(means, 0.5 - level / 2), quantile(means, 0.5 + level / 2)};
}

std::vector<double> holm(std::span<const double> p_values) {
  std::vector<size_t> order(p_values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p_values[a] < p_values[b]; });
  std::vector<double> adjusted(p_values.size());
  double running = 0;
  for (size_t rank = 0; rank < order.size(); ++rank) {
    running = std::max(running, std::min(1.0, static_cast<double>(order.size() - rank) * p_values[order[rank]]));
    adjusted[order[rank]] = running;
  }
  return adjusted;
}

Matrix difference(const Matrix& a, const Matrix& b) {
  verify(a, 1);
  verify(b, 1);
  check(a.size() == b.size() && a.front().size() == b.front().size(), ErrorKind::invalid_argument, "statistics",
        "expected equal seeds and items for a paired difference, got {}x{} and {}x{}", a.size(), a.front().size(), b.size(),
        b.front().size());
  Matrix result = a;
  for (size_t s = 0; s < a.size(); ++s) {
    for (size_t i = 0; i < a[s].size(); ++i) result[s][i] -= b[s][i];
  }
  return result;
}

double noise_floor(std::span<const double> a, std::span<const double> b) {
  check(a.size() == b.size(), ErrorKind::invalid_argument, "statistics", "expected as many seeds of both methods, got {} and {}", a.size(),
        b.size());
  if (a.size() < 2) return kNaN;
  const auto seeds = static_cast<double>(a.size());
  const double pooled = (square(standard_deviation(a)) + square(standard_deviation(b))) / 2;
  return t_quantile(2 * (seeds - 1), 0.95) * std::sqrt(2 * pooled / seeds);
}

double standard_deviation(std::span<const double> values) {
  if (values.size() < 2) return kNaN;
  const double mean = mean_of(values);
  double sum = 0;
  for (const double value : values) sum += square(value - mean);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

double quantile(std::vector<double> values, double share) {
  check(!values.empty() && share >= 0 && share <= 1, ErrorKind::invalid_argument, "statistics",
        "expected values and a share from 0 to 1, got {} values and share {}", values.size(), share);
  std::sort(values.begin(), values.end());
  const double position = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(position);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (position - static_cast<double>(below)) * (values[above] - values[below]);
}

}  // namespace lowrank::study
