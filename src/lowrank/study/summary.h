// From the record of a study to what it says: scores, paired differences, costs, the Pareto set and a recommendation.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lowrank/study/statistics.h"
#include "lowrank/study/study_record.h"

namespace lowrank::study {

/// Figures of one method over its tested runs. Costs are means over seeds.
struct MethodSummary {
  std::string method;
  double learning_rate = kUnknown;
  int64_t search_runs = 0, failed_runs = 0;
  std::vector<int64_t> seeds;        // tested, ascending
  std::vector<double> seed_scores;   // one a seed
  Estimate score;                    // new seeds and new test items
  double seed_deviation = kUnknown;  // standard deviation of seed_scores
  Estimate macro_f1;                 // over seeds alone
  double seconds = 0, units_per_second = 0, peak_bytes = 0, trainable_parameters = 0, adapter_bytes = 0;
  Forgetting forgetting;       // means over seeds
  std::vector<double> recall;  // of each label, mean over seeds; NaN for a label without test items
  bool tested() const { return !seeds.empty(); }
};

enum class Verdict { better, worse, no_difference_shown, one_seed };
std::string_view to_string(Verdict verdict);  // "better", "no difference shown" …

/// first - second on the seeds that both have.
struct Difference {
  std::string first, second;
  Estimate estimate;
  double p = 1, p_holm = 1;       // Holm over all pairs of methods
  Interval corrected;             // at 1 - 0.05/pairs (Bonferroni): all of them hold together in 95 % of studies
  Interval bootstrap;             // two-way percentile, 95 %, as a check
  double noise_floor = kUnknown;  // A/A: what seeds alone make between two repeats of one method
  Verdict verdict = Verdict::one_seed;
};

/// A cost against which quality is weighed; lower is better.
struct CostAxis {
  std::string name, title;
  double MethodSummary::*value;
  std::vector<std::string> pareto;  // methods that no other beats in both score and cost, by rising cost
};

struct Recommendation {
  std::string method;                 // empty when nothing was tested
  std::string sentence;               // which, and why
  std::vector<std::string> cautions;  // what would make it wrong
};

struct Summary {
  std::vector<MethodSummary> methods;  // in the study's order
  std::vector<Difference> pairs;       // every pair of tested methods
  std::vector<CostAxis> costs;
  double majority_score = kUnknown;
  Recommendation recommendation;
  std::vector<std::string> notes;  // unequal search, edge of the grid, failed runs …
  std::vector<Summary> measures;   // methods and pairs by each of Study::measures, in their order, each a family of its own
};

struct SummaryOptions {
  int64_t bootstrap_draws = 4000;
  uint64_t bootstrap_seed = 1;
  double margin = 0.01;  // a loss of score that is worth a smaller adapter
};

/// What a validation says, higher being better: its score, or minus its loss in work that has a loss alone. NaN for no validation.
double quality(const CurvePoint& point);

/// The learning rate whose search runs have the best mean of (best quality of the run); ties go to the lower validation
/// loss, then to the smaller rate. Failed runs count for nothing. Empty when no search run of the method ended well.
std::optional<double> choose_learning_rate(const Study& study, const std::string& method);

Summary summarize(const Study& study, const SummaryOptions& options = {});

const MethodSummary* find_method(const Summary& summary, const std::string& method);

/// The difference first - second, whichever way round the summary holds it; nullptr-like empty when one was not tested.
std::optional<Difference> find_difference(const Summary& summary, const std::string& first, const std::string& second);

/// Rule: the best mean wins. Every method that is not shown worse than it (Holm) and loses at most `margin` stays a candidate; the
/// candidate with the smallest adapter is recommended, sizes within 10 % counting as equal, then by training time.
Recommendation recommend(const Study& study, const Summary& summary, double margin);

}  // namespace lowrank::study
