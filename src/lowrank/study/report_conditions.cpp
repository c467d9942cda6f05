#include <algorithm>

#include "lowrank/study/format.h"
#include "lowrank/study/report.h"

namespace lowrank::study {

namespace {

/// Means over the tested runs of `method`, by condition.
std::vector<double> means_under(const Study& study, const std::string& method, size_t conditions) {
  std::vector<double> means(conditions, 0);
  double runs = 0;
  for (const Run& run : study.runs) {
    if (run.method != method || !run.tested() || run.under.size() != conditions) continue;
    for (size_t i = 0; i < conditions; ++i) means[i] += run.under[i].second;
    ++runs;
  }
  for (double& mean : means) mean = runs > 0 ? mean / runs : kUnknown;
  return means;
}

}  // namespace

std::optional<Section> conditions_section(const Study& study, const Summary& summary) {
  const auto with = std::ranges::find_if(study.runs, [](const Run& run) { return run.tested() && !run.under.empty(); });
  if (with == study.runs.end()) return std::nullopt;
  Table table{.caption = study.score_name + " on the test set, mean over seeds", .columns = {{"Condition", false}}};
  table.rows.push_back({"as they are"});
  for (const auto& [name, _] : with->under) table.rows.push_back({name});
  table.rows.push_back({"mean of the changed"});
  for (const MethodSummary& method : summary.methods) {
    if (!method.tested()) continue;
    const std::vector<double> means = means_under(study, method.method, with->under.size());
    double sum = 0;
    table.columns.push_back({title_of(study, method.method)});
    table.rows.front().push_back(percent(method.score.mean));
    for (size_t i = 0; i < means.size(); ++i) {
      table.rows[i + 1].push_back(percent(means[i]));
      sum += means[i];
    }
    table.rows.back().push_back(percent(sum / static_cast<double>(means.size())));
  }
  return Section{
      .id = "conditions",
      .title = "Under changed conditions",
      .blocks = {{.kind = Block::Kind::paragraph,
                  .text = "The same test pictures turned, noisy, blurred, darker, grey and in warm light; a change is the same for "
                          "every method and seed."},
                 {.kind = Block::Kind::table, .table = std::move(table)}}};
}

}  // namespace lowrank::study
