#include <algorithm>
#include <cmath>
#include <map>

#include "lowrank/base/file.h"
#include "lowrank/study/measures.h"
#include "lowrank/study/report.h"

namespace lowrank::study {

namespace {

Json pair_of(Interval interval, double scale = 1) { return Json::array({scale * interval.low, scale * interval.high}); }

/// What a curve shows of a validation: the score in per cent, or the loss.
double shown(const CurvePoint& point, bool by_loss) { return by_loss ? point.validation_loss : 100 * point.validation_score; }

/// Mean, lowest and highest over the seeds at each step that all of them reached.
Json curve_of(const Study& study, const std::string& method) {
  const bool by_loss = !study.measures.empty();
  std::map<int64_t, std::vector<const CurvePoint*>> steps;
  size_t runs = 0;
  for (const Run& run : study.runs) {
    if (run.method != method || !run.tested()) continue;
    ++runs;
    for (const CurvePoint& point : run.curve) {
      if (std::isfinite(shown(point, by_loss))) steps[point.step].push_back(&point);
    }
  }
  Json points = Json::array();
  for (const auto& [step, seeds] : steps) {
    if (seeds.size() < runs) continue;
    double sum = 0, seconds = 0, low = INFINITY, high = -INFINITY;
    for (const CurvePoint* point : seeds) {
      sum += shown(*point, by_loss);
      seconds += point->seconds;
      low = std::min(low, shown(*point, by_loss));
      high = std::max(high, shown(*point, by_loss));
    }
    const auto count = static_cast<double>(seeds.size());
    points.push_back({{"step", step}, {"seconds", seconds / count}, {"mean", sum / count}, {"low", low}, {"high", high}});
  }
  return points;
}

Json costs_of(const Summary& summary) {
  Json axes = Json::array();
  for (const CostAxis& axis : summary.costs) {
    Json values = Json::object();
    for (const MethodSummary& method : summary.methods) {
      if (method.tested()) values[method.method] = method.*axis.value;
    }
    axes.push_back({{"name", axis.name}, {"title", axis.title}, {"pareto", axis.pareto}, {"values", values}});
  }
  return axes;
}

Json json_of(const Estimate& estimate) {
  return {{"mean", estimate.mean},
          {"interval", pair_of(estimate.interval)},
          {"seed_error", estimate.seed_error},
          {"item_error", estimate.item_error},
          {"seeds", estimate.seeds},
          {"items", estimate.items}};
}

Json json_of(const MethodSummary& method) {
  Json json = {{"method", method.method},
               {"learning_rate", method.learning_rate},
               {"search_runs", method.search_runs},
               {"failed_runs", method.failed_runs},
               {"seeds", method.seeds}};
  if (!method.tested()) return json;
  json.update({{"seed_scores", method.seed_scores},
               {"score", json_of(method.score)},
               {"seed_deviation", method.seed_deviation},
               {"macro_f1", json_of(method.macro_f1)},
               {"seconds", method.seconds},
               {"units_per_second", method.units_per_second},
               {"peak_bytes", method.peak_bytes},
               {"trainable_parameters", method.trainable_parameters},
               {"adapter_bytes", method.adapter_bytes},
               {"rank_agreement", method.forgetting.rank_agreement},
               {"similarity_shift", method.forgetting.similarity_shift},
               {"recall", method.recall}});
  return json;
}

Json json_of(const Difference& pair) {
  return {{"first", pair.first},
          {"second", pair.second},
          {"difference", json_of(pair.estimate)},
          {"p", pair.p},
          {"p_holm", pair.p_holm},
          {"corrected_interval", pair_of(pair.corrected)},
          {"bootstrap_interval", pair_of(pair.bootstrap)},
          {"seed_noise", pair.noise_floor},
          {"verdict", to_string(pair.verdict)}};
}

Json measures_json(const Study& study, const Summary& summary) {
  Json list = Json::array();
  for (size_t i = 0; i < summary.measures.size(); ++i) {
    const Measure& measure = study.measures[i];
    Json json = {{"name", measure.name},
                 {"of", measure.of},
                 {"base", mean_of(measure.base)},
                 {"best", mean_of(measure.best)},
                 {"drawing_noise", drawing_noise(measure)},
                 {"methods", Json::array()},
                 {"pairs", Json::array()}};
    for (const MethodSummary& method : summary.measures[i].methods) {
      if (!method.tested()) continue;
      json["methods"].push_back({{"method", method.method},
                                 {"distance", mean_distance(study, method.method, measure)},
                                 {kCloseness, json_of(method.score)},
                                 {"seed_deviation", method.seed_deviation}});
    }
    for (const Difference& pair : summary.measures[i].pairs) json["pairs"].push_back(json_of(pair));
    list.push_back(std::move(json));
  }
  return list;
}

}  // namespace

Json chart_data(const Study& study, const Summary& summary) {
  Json methods = Json::array(), differences = Json::array();
  for (const MethodSummary& method : summary.methods) {
    if (!method.tested()) continue;
    methods.push_back({{"id", method.method},
                       {"title", title_of(study, method.method)},
                       {"score", 100 * method.score.mean},
                       {"interval", pair_of(method.score.interval, 100)},
                       {"curve", curve_of(study, method.method)}});
    const auto pair = find_difference(summary, method.method, study.reference);
    if (!pair) continue;
    differences.push_back({{"id", method.method},
                           {"title", title_of(study, method.method)},
                           {"mean", 100 * pair->estimate.mean},
                           {"interval", pair_of(pair->estimate.interval, 100)},
                           {"corrected", pair_of(pair->corrected, 100)},
                           {"noise", 100 * pair->noise_floor},
                           {"verdict", to_string(pair->verdict)}});
  }
  const bool by_loss = !study.measures.empty();
  return {{"score", study.score_name},
          {"curve",
           {{"title", by_loss ? "validation loss" : fmt::format("validation {}, %", study.score_name)},
            {"digits", by_loss ? 4 : 1},
            {"unit", by_loss ? "" : " %"}}},
          {"reference", title_of(study, study.reference)},
          {"methods", methods},
          {"differences", differences},
          {"costs", costs_of(summary)}};
}

Json report_json(const Study& study, const Summary& summary) {
  Json runs = Json::array();
  for (const Run& run : study.runs) {
    runs.push_back(to_json(run));
    runs.back().erase("predicted");
    runs.back().erase("item_scores");
    runs.back().erase("distances");
  }
  Json result = {{"recommendation",
                  {{"method", summary.recommendation.method},
                   {"sentence", summary.recommendation.sentence},
                   {"cautions", summary.recommendation.cautions}}},
                 {"notes", summary.notes},
                 {"majority_score", summary.majority_score},
                 {"methods", Json::array()},
                 {"pairs", Json::array()},
                 {"pareto", Json::object()}};
  for (const MethodSummary& method : summary.methods) result["methods"].push_back(json_of(method));
  for (const Difference& pair : summary.pairs) result["pairs"].push_back(json_of(pair));
  for (const CostAxis& axis : summary.costs) result["pareto"][axis.name] = axis.pareto;
  result["measures"] = measures_json(study, summary);
  Json record = to_json(study);
  for (Json& measure : record["measures"]) {
    for (const char* items : {"base", "base_again", "best"}) measure.erase(items);
  }
  return {{"study", record}, {"summary", result}, {"runs", runs}};
}

ReportFiles write_report(const std::filesystem::path& folder, const Study& study, const SummaryOptions& options) {
  const Summary summary = summarize(study, options);
  const Document document = make_document(study, summary, folder);
  ReportFiles files{folder / "report.html", folder / "report.md", folder / "report.json"};
  std::filesystem::create_directories(folder);
  write_file_atomic(files.html, render_html(document, chart_data(study, summary)));
  write_file_atomic(files.markdown, render_markdown(document));
  write_file_atomic(files.json, format_json(report_json(study, summary)));
  return files;
}

}  // namespace lowrank::study
