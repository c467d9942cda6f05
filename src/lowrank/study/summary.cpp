#include "lowrank/study/summary.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "lowrank/base/error.h"
#include "lowrank/study/measures.h"

namespace lowrank::study {

namespace {

std::vector<const Run*> tested_runs(const Study& study, const std::string& method) {
  std::vector<const Run*> runs;
  for (const Run& run : study.runs) {
    if (run.method == method && run.tested()) runs.push_back(&run);
  }
  std::sort(runs.begin(), runs.end(), [](const Run* a, const Run* b) { return a->seed < b->seed; });
  for (size_t i = 1; i < runs.size(); ++i) {
    check(runs[i]->seed != runs[i - 1]->seed && runs[i]->learning_rate == runs[0]->learning_rate, ErrorKind::invalid_argument, "study",
          "expected one final run a seed at one learning rate for '{}', got {} and {}", method, run_name(*runs[i - 1]), run_name(*runs[i]));
  }
  return runs;
}

template <class F>
double mean_over(const std::vector<const Run*>& runs, F&& value) {
  double sum = 0;
  for (const Run* run : runs) sum += static_cast<double>(value(*run));
  return sum / static_cast<double>(runs.size());
}

std::vector<double> recall_of(const std::vector<const Run*>& runs, const Study& study) {
  const size_t labels = study.label_names.size();
  std::vector<double> right(labels, 0), present(labels, 0);
  for (const Run* run : runs) {
    for (size_t i = 0; i < study.test_labels.size(); ++i) {
      const auto label = static_cast<size_t>(study.test_labels[i]);
      if (label >= labels) continue;
      present[label] += 1;
      right[label] += run->item_scores[i];
    }
  }
  for (size_t label = 0; label < labels; ++label) right[label] = present[label] > 0 ? right[label] / present[label] : kUnknown;
  return right;
}

Matrix scores_on(const std::vector<const Run*>& runs, const std::vector<int64_t>& seeds) {
  Matrix values;
  for (const Run* run : runs) {
    if (std::find(seeds.begin(), seeds.end(), run->seed) != seeds.end()) values.push_back(run->item_scores);
  }
  return values;
}

MethodSummary summarize_method(const Study& study, const std::string& method) {
  MethodSummary result{.method = method};
  for (const Run& run : study.runs) {
    if (run.method != method) continue;
    result.search_runs += run.phase == RunPhase::search;
    result.failed_runs += run.status == RunStatus::failed;
  }
  const auto runs = tested_runs(study, method);
  if (runs.empty()) {
    result.learning_rate = choose_learning_rate(study, method).value_or(kUnknown);
    return result;
  }
  std::vector<double> macro;
  for (const Run* run : runs) {
    result.seeds.push_back(run->seed);
    result.seed_scores.push_back(mean_estimate(run->item_scores).mean);
    macro.push_back(run->macro_f1);
  }
  result.learning_rate = runs.front()->learning_rate;
  result.score = two_way_estimate(scores_on(runs, result.seeds));
  result.seed_deviation = standard_deviation(result.seed_scores);
  result.macro_f1 = mean_estimate(macro);
  result.seconds = mean_over(runs, [](const Run& run) { return run.seconds; });
  result.units_per_second = mean_over(runs, [](const Run& run) { return run.units_per_second(); });
  result.peak_bytes = mean_over(runs, [](const Run& run) { return run.peak_bytes; });
  result.trainable_parameters = mean_over(runs, [](const Run& run) { return run.trainable_parameters; });
  result.adapter_bytes = mean_over(runs, [](const Run& run) { return run.adapter_bytes; });
  result.forgetting.rank_agreement = mean_over(runs, [](const Run& run) { return run.forgetting.rank_agreement; });
  result.forgetting.similarity_shift = mean_over(runs, [](const Run& run) { return run.forgetting.similarity_shift; });
  result.recall = recall_of(runs, study);
  return result;
}

Verdict verdict_of(const Difference& difference) {
  if (difference.estimate.seeds < 2) return Verdict::one_seed;
  if (difference.p_holm > 0.05) return Verdict::no_difference_shown;
  return difference.estimate.mean > 0 ? Verdict::better : Verdict::worse;
}

/// Over the seeds that every tested method has.
PooledSeeds pool(const std::vector<MethodSummary>& methods) {
  std::map<int64_t, std::vector<double>> scores;
  size_t tested = 0;
  for (const MethodSummary& method : methods) {
    tested += method.tested();
    for (size_t i = 0; i < method.seeds.size(); ++i) scores[method.seeds[i]].push_back(method.seed_scores[i]);
  }
  Matrix by_seed;
  for (const auto& [_, row] : scores) {
    if (row.size() == tested) by_seed.push_back(row);
  }
  return tested < 2 || by_seed.size() < 2 ? PooledSeeds{} : pool_seeds(by_seed);
}

std::optional<Difference> compare(const Study& study, const MethodSummary& first, const MethodSummary& second, PooledSeeds pooled,
                                  const SummaryOptions& options) {
  std::vector<int64_t> seeds;
  std::set_intersection(first.seeds.begin(), first.seeds.end(), second.seeds.begin(), second.seeds.end(), std::back_inserter(seeds));
  if (seeds.empty()) return std::nullopt;
  const Matrix a = scores_on(tested_runs(study, first.method), seeds), b = scores_on(tested_runs(study, second.method), seeds);
  const Matrix values = study::difference(a, b);
  std::vector<double> a_scores, b_scores;
  for (size_t s = 0; s < seeds.size(); ++s) {
    a_scores.push_back(mean_estimate(a[s]).mean);
    b_scores.push_back(mean_estimate(b[s]).mean);
  }
  Difference result{.first = first.method, .second = second.method, .estimate = two_way_estimate(values, 0.95, pooled)};
  result.p = p_value(result.estimate);
  result.bootstrap = two_way_bootstrap(values, options.bootstrap_draws, options.bootstrap_seed);
  result.noise_floor = noise_floor(a_scores, b_scores);
  return result;
}

std::vector<Difference> compare_all(const Study& study, const std::vector<MethodSummary>& methods, const SummaryOptions& options) {
  std::vector<Difference> pairs;
  const PooledSeeds pooled = pool(methods);
  for (size_t i = 0; i < methods.size(); ++i) {
    for (size_t j = i + 1; j < methods.size(); ++j) {
      if (auto pair = compare(study, methods[i], methods[j], pooled, options)) pairs.push_back(std::move(*pair));
    }
  }
  std::vector<double> p;
  for (const Difference& pair : pairs) p.push_back(pair.p);
  const auto adjusted = holm(p);
  for (size_t i = 0; i < pairs.size(); ++i) {
    pairs[i].p_holm = adjusted[i];
    pairs[i].corrected = interval_at(pairs[i].estimate, 1 - 0.05 / static_cast<double>(pairs.size()));
    pairs[i].verdict = verdict_of(pairs[i]);
  }
  return pairs;
}

std::vector<CostAxis> cost_axes(const std::vector<MethodSummary>& methods) {
  std::vector<CostAxis> axes{{"size", "adapter size", &MethodSummary::adapter_bytes, {}},
                             {"time", "training time", &MethodSummary::seconds, {}},
                             {"memory", "peak memory", &MethodSummary::peak_bytes, {}},
                             {"parameters", "trained parameters", &MethodSummary::trainable_parameters, {}}};
  for (CostAxis& axis : axes) {
    std::vector<const MethodSummary*> order;
    for (const MethodSummary& method : methods) {
      if (method.tested()) order.push_back(&method);
    }
    std::sort(order.begin(), order.end(), [&](const auto* a, const auto* b) {
      const double left = a->*axis.value, right = b->*axis.value;
      return left != right ? left < right : a->score.mean > b->score.mean;
    });
    double best = -std::numeric_limits<double>::infinity();
    for (const MethodSummary* method : order) {
      if (method->score.mean > best) axis.pareto.push_back(method->method);
      best = std::max(best, method->score.mean);
    }
  }
  return axes;
}

double majority_score(const Study& study) {
  if (study.majority_label < 0 || study.test_labels.empty()) return kUnknown;
  const auto hits = std::count(study.test_labels.begin(), study.test_labels.end(), study.majority_label);
  return static_cast<double>(hits) / static_cast<double>(study.test_labels.size());
}

struct RateScore {
  double score = 0, loss = 0, count = 0;
};

std::map<double, RateScore> search_scores(const Study& study, const std::string& method) {
  std::map<double, RateScore> rates;
  for (const Run& run : study.runs) {
    if (run.method != method || run.phase != RunPhase::search || run.status != RunStatus::ok) continue;
    const CurvePoint* best = nullptr;
    for (const CurvePoint& point : run.curve) {
      if (std::isfinite(quality(point)) && (!best || quality(point) > quality(*best))) best = &point;
    }
    if (!best) continue;
    RateScore& rate = rates[run.learning_rate];
    rate.score += quality(*best);
    rate.loss += best->validation_loss;
    rate.count += 1;
  }
  return rates;
}

void note_search(const Study& study, const Summary& summary, std::vector<std::string>& notes) {
  int64_t least = std::numeric_limits<int64_t>::max(), most = 0;
  for (const MethodSummary& method : summary.methods) {
    least = std::min(least, method.search_runs);
    most = std::max(most, method.search_runs);
    const auto rates = search_scores(study, method.method);
    const auto chosen = choose_learning_rate(study, method.method);
    if (!chosen) continue;
    if (rates.size() > 1 && (*chosen == rates.begin()->first || *chosen == rates.rbegin()->first)) {
      notes.push_back(fmt::format("The best learning rate found for {} ({}) is the {} one tried: a wider search may raise its score.",
                                  title_of(study, method.method), *chosen, *chosen == rates.begin()->first ? "smallest" : "largest"));
    }
    if (method.tested() && method.learning_rate != *chosen) {
      notes.push_back(fmt::format("{} was tested at learning rate {}, while its search on validation chose {}.",
                                  title_of(study, method.method), method.learning_rate, *chosen));
    }
  }
  if (most > 0 && least != most) {
    notes.push_back(fmt::format("The methods did not have the same search budget: from {} to {} search runs.", least, most));
  }
}

void note_runs(const Study& study, const Summary& summary, std::vector<std::string>& notes) {
  int64_t failed = 0, interrupted = 0;
  size_t most_seeds = 0;
  for (const Run& run : study.runs) {
    failed += run.status == RunStatus::failed;
    interrupted += run.status == RunStatus::interrupted;
  }
  for (const auto& [number, what] :
       {std::pair(failed, "failed"), std::pair(interrupted, interrupted == 1 ? "was interrupted" : "were interrupted")}) {
    if (number == 0) continue;
    notes.push_back(fmt::format("Of {} runs, {} {}; the figures leave {} out (see “Runs”).", study.runs.size(), number, what,
                                number == 1 ? "it" : "them"));
  }
  for (const MethodSummary& method : summary.methods) most_seeds = std::max(most_seeds, method.seeds.size());
  for (const MethodSummary& method : summary.methods) {
    if (method.seeds.size() == most_seeds) continue;
    notes.push_back(fmt::format("{} was tested with {} of {} seeds; its differences use the seeds that both methods have.", method.method,
                                method.seeds.size(), most_seeds));
  }
}

void note_measures(const Study& study, std::vector<std::string>& notes) {
  for (const Measure& measure : study.measures) {
    if (has_best(measure)) continue;
    notes.push_back(
        fmt::format("By {} ({}), what counts as best possible ({:.4f}) is no closer than the base ({:.4f}): closeness is a share "
                    "of the base's distance there.",
                    measure.title, measure.of, mean_of(measure.best), mean_of(measure.base)));
  }
}

}  // namespace

std::string_view to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::better: return "better";
    case Verdict::worse: return "worse";
    case Verdict::no_difference_shown: return "no difference shown";
    case Verdict::one_seed: return "one seed: cannot tell";
  }
  return "";
}

double quality(const CurvePoint& point) { return std::isfinite(point.validation_score) ? point.validation_score : -point.validation_loss; }

std::optional<double> choose_learning_rate(const Study& study, const std::string& method) {
  std::optional<double> chosen;
  RateScore best;
  for (auto& [rate, sums] : search_scores(study, method)) {
    const RateScore mean{sums.score / sums.count, sums.loss / sums.count, sums.count};
    if (!chosen || mean.score > best.score || (mean.score == best.score && mean.loss < best.loss)) {
      chosen = rate;
      best = mean;
    }
  }
  return chosen;
}

Summary summarize(const Study& study, const SummaryOptions& options) {
  Summary summary;
  for (const std::string& method : study.methods) summary.methods.push_back(summarize_method(study, method));
  summary.pairs = compare_all(study, summary.methods, options);
  summary.costs = cost_axes(summary.methods);
  summary.majority_score = majority_score(study);
  for (const Measure& measure : study.measures) summary.measures.push_back(summarize(judged_by(study, measure), options));
  note_measures(study, summary.notes);
  note_runs(study, summary, summary.notes);
  note_search(study, summary, summary.notes);
  summary.recommendation = recommend(study, summary, options.margin);
  return summary;
}

const MethodSummary* find_method(const Summary& summary, const std::string& method) {
  for (const MethodSummary& candidate : summary.methods) {
    if (candidate.method == method) return &candidate;
  }
  return nullptr;
}

std::optional<Difference> find_difference(const Summary& summary, const std::string& first, const std::string& second) {
  const auto turn = [](Interval interval) { return Interval{-interval.high, -interval.low}; };
  for (Difference pair : summary.pairs) {
    if (pair.first == first && pair.second == second) return pair;
    if (pair.first != second || pair.second != first) continue;
    std::swap(pair.first, pair.second);
    pair.estimate.mean = -pair.estimate.mean;
    pair.estimate.interval = turn(pair.estimate.interval);
    pair.corrected = turn(pair.corrected);
    pair.bootstrap = turn(pair.bootstrap);
    if (pair.verdict == Verdict::better || pair.verdict == Verdict::worse) {
      pair.verdict = pair.verdict == Verdict::better ? Verdict::worse : Verdict::better;
    }
    return pair;
  }
  return std::nullopt;
}

}  // namespace lowrank::study
