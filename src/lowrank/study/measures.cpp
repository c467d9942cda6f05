#include "lowrank/study/measures.h"

#include <numeric>

#include "lowrank/base/error.h"
#include "lowrank/study/statistics.h"

namespace lowrank::study {

double mean_of(const std::vector<double>& values) {
  if (values.empty()) return kUnknown;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

bool has_best(const Measure& measure) { return mean_of(measure.best) < mean_of(measure.base); }

double scale_of(const Measure& measure) {
  const double base = mean_of(measure.base);
  return has_best(measure) ? base - mean_of(measure.best) : base > 0 ? base : 1;
}

std::vector<double> closeness(const Measure& measure, const std::vector<double>& distances) {
  check(distances.size() == measure.base.size() && !distances.empty(), ErrorKind::invalid_argument, measure.title,
        "expected one distance for each of {} items, got {}", measure.base.size(), distances.size());
  const double scale = scale_of(measure);
  std::vector<double> result;
  for (size_t i = 0; i < distances.size(); ++i) result.push_back((measure.base[i] - distances[i]) / scale);
  return result;
}

void score_distances(Run& run, const Study& study) {
  const Measure& first = study.measures.at(0);
  run.item_scores = closeness(first, run.distances.at(first.name));
  run.test_score = mean_of(run.item_scores);
}

Study judged_by(const Study& study, const Measure& measure) {
  Study judged = study;
  judged.measures = {measure};
  for (Run& run : judged.runs) {
    if (run.tested()) score_distances(run, judged);
  }
  judged.measures.clear();
  return judged;
}

double mean_distance(const Study& study, const std::string& method, const Measure& measure) {
  std::vector<double> means;
  for (const Run& run : study.runs) {
    if (run.method == method && run.tested()) means.push_back(mean_of(run.distances.at(measure.name)));
  }
  return mean_of(means);
}

double drawing_noise(const Measure& measure) {
  if (measure.base_again.size() != measure.base.size() || measure.base.size() < 2) return kUnknown;
  std::vector<double> gaps;
  for (size_t i = 0; i < measure.base.size(); ++i) gaps.push_back(measure.base[i] - measure.base_again[i]);
  const Interval interval = mean_estimate(gaps).interval;
  return (interval.high - interval.low) / 2 / scale_of(measure);
}

}  // namespace lowrank::study
