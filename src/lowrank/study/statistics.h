// Statistics of a comparison: few seeds (rows), many test items (columns), the same items and seeds for every method.
//
// Model of a score, or of the paired difference of two methods: D[s,i] = mu + seed_s + item_i + residual_si, both
// crossed and random: the question is about new seeds and new test items. With S seeds, N items and the two-way mean squares
//   seed_error² = MS_seed/(S N),  item_error² = max(MS_item - MS_residual, 0)/(S N),
//   (mean - mu) ~ seed_error · t(S-1) + item_error · t(N-1),
// Fisher's solution of the Behrens-Fisher problem: the sum of two independent Student variables, integrated numerically.
// With M > 2 methods the seed variance of a difference is the larger of its own and the one pooled over all methods, with
// (M-1)(S-1) degrees of freedom: two degrees alone would hide a difference of ten standard errors behind a Holm correction.
//
// Why this and not another. Three seeds resampled have 2/3 of the seed variance and no t tail: where seeds dominate, the 95 %
// percentile interval of a bootstrap covers about 75 %. A sign-flip over S seeds has 2^S outcomes, so with three its smallest
// two-sided p is 0.25 whatever the data; over items alone (McNemar) it takes the trained weights as fixed and says nothing about
// the method. One t with Satterthwaite's or Hillis' degrees of freedom covers 91 % and, under Holm with six comparisons of equal
// methods, errs in 10 % of families (it trusts a seed variance that is small by luck). The sum of two t keeps its level: 95–98 %
// covered, family error 1–3 % in tests/study/statistics_simulation_test.cpp. Its weak spot is a method far noisier than the rest
// where seeds alone count: three times noisier, 90 % of that method's intervals cover (family error 5 %). The two-way bootstrap
// is given beside it as a check.
//
// Sources: Fisher, Annals of Eugenics 6:391 (1935); Roe & Metz, Academic Radiology 4:298 (1997) for few raters x many cases;
// Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1:386 (2007); Holm, Scand. J. Statistics 6:65 (1979).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lowrank::study {

/// values[seed][item], every row of equal length.
using Matrix = std::vector<std::vector<double>>;

struct Interval {
  double low = 0, high = 0;
  bool contains(double value) const { return low <= value && value <= high; }
};

/// A mean with its uncertainty. With one seed the seed variation is unknown: `seeds` is 1 and the interval covers items only.
struct Estimate {
  double mean = 0;
  double seed_error = 0;    // what more seeds would lower; infinite for a single value without items
  double item_error = 0;    // what more test items would lower
  double seed_degrees = 0;  // degrees of freedom of seed_error; those of item_error are items - 1
  Interval interval;        // two-sided, at the level asked for
  int64_t seeds = 0, items = 0;
};

/// Two-way analysis of variance without replication. Mean squares; needs S >= 2 and N >= 2.
struct MeanSquares {
  double seed = 0, item = 0, residual = 0;
};
MeanSquares mean_squares(const Matrix& values);

/// Seed variance of a difference of two methods, pooled over M methods that share S seeds:
/// 2/((M-1)(S-1)) · sum over m,s of (y[m,s] - y[m,.] - y[.,s] + y[.,.])². No degrees, and so no effect, for M < 2 or S < 2.
struct PooledSeeds {
  double variance = 0, degrees = 0;
};
/// `scores[method][seed]`.
PooledSeeds pool_seeds(const Matrix& scores);

/// Mean over seeds and items with the interval of the header's model. Throws Error{invalid_argument} unless S >= 1, N >= 2.
Estimate two_way_estimate(const Matrix& values, double level = 0.95, PooledSeeds pooled = {});

/// Mean of independent values with Student's t interval, mean ± t(n-1) s/√n. One value: an infinite interval.
Estimate mean_estimate(std::span<const double> values, double level = 0.95);

/// The same estimate at another level.
Interval interval_at(const Estimate& estimate, double level);

/// Two-sided p of "the mean is zero". 1 when mean and error are both 0.
double p_value(const Estimate& estimate);

/// Percentile interval of the mean when seeds and items are resampled, each with replacement, an item's whole column together.
Interval two_way_bootstrap(const Matrix& values, int64_t draws, uint64_t seed, double level = 0.95);

/// Holm's adjusted p: max over j <= i of min(1, (m-j+1) p_(j)). Rejecting p <= 0.05 keeps the family error <= 5 %.
std::vector<double> holm(std::span<const double> p_values);

/// a - b, element by element.
Matrix difference(const Matrix& a, const Matrix& b);

/// A/A noise floor: two repeats of one method over S new seeds each differ by less than this in 95 % of studies, through the seed alone:
/// t(0.975, 2(S-1)) · sqrt(2/S) · s, where s² is the mean over both methods of ½·(squared difference of two seeds of one method),
/// averaged over seed pairs. NaN with fewer than two seeds. `a` and `b`: one score per seed, equally many.
double noise_floor(std::span<const double> a, std::span<const double> b);

/// Sample standard deviation, n-1 in the denominator; NaN for n < 2.
double standard_deviation(std::span<const double> values);

/// Linear interpolation between order statistics (R's type 7). `values` need not be sorted; not empty; share 0 … 1.
double quantile(std::vector<double> values, double share);

}  // namespace lowrank::study
