#include <algorithm>
#include <cmath>

#include "lowrank/study/format.h"
#include "lowrank/study/report_sections.h"

namespace lowrank::study {

namespace {

using Kind = Block::Kind;

Block figure(std::string id, std::string caption) { return {.kind = Kind::figure, .text = std::move(caption), .id = std::move(id)}; }

class Builder {
 public:
  Builder(const Study& study, const Summary& summary) : study_(study), summary_(summary) {}

  Section results() const {
    Table table{.caption = capitalized(study_.score_name) + " on the test set",
                .columns = {{"Method", false},
                            {capitalized(study_.score_name)},
                            {"95 % interval"},
                            {"SD over seeds"},
                            {"Macro F1"},
                            {"Learning rate"},
                            {"Seeds"},
                            {"Similarity kept"}}};
    for (const MethodSummary& method : summary_.methods) {
      if (!method.tested()) continue;
      if (method.method == summary_.recommendation.method) table.highlight = static_cast<int>(table.rows.size());
      table.rows.push_back({title_of(study_, method.method), percent(method.score.mean), percent_range(method.score.interval),
                            decimal(100 * method.seed_deviation, 2), percent(method.macro_f1.mean), rate(method.learning_rate),
                            fmt::format("{}", method.seeds.size()), decimal(method.forgetting.rank_agreement, 3)});
    }
    if (std::isfinite(summary_.majority_score)) {
      table.rows.push_back({"most frequent label", percent(summary_.majority_score), "–", "–", "–", "–", "–", "–"});
    }
    return {.id = "results",
            .title = "Results",
            .blocks = {
                block(std::move(table)),
                paragraph("The interval is for new seeds and new test items. Intervals of two methods may overlap although their paired "
                          "difference is clear: judge methods by the differences below. “Similarity kept” is the rank correlation of the "
                          "similarities between the model's embeddings before and after training; 1 means that nothing of that use is "
                          "forgotten.")}};
  }

  Section differences() const {
    Section section{.id = "differences", .title = "Differences", .blocks = {}};
    Table table = difference_table(fmt::format("Each method minus {}, in percentage points", title_of(study_, study_.reference)), false);
    for (const std::string& method : study_.methods) {
      if (const auto pair = find_difference(summary_, method, study_.reference)) table.rows.push_back(difference_row(study_, *pair, false));
    }
    if (summary_.pairs.empty()) {
      section.blocks.push_back(paragraph("Fewer than two methods were tested on a common seed, so there is nothing to compare."));
      return section;
    }
    section.blocks.push_back(figure(
        "differences",
        fmt::format("Paired differences to {}. Dot: mean; thick bar: 95 % interval; thin line: corrected for all {} comparisons; grey "
                    "band: seed noise, what two repeats of one method would differ by. Right of zero is better than {}.",
                    title_of(study_, study_.reference), summary_.pairs.size(), title_of(study_, study_.reference))));
    if (!table.rows.empty()) section.blocks.push_back(block(std::move(table)));
    section.blocks.push_back(paragraph(fmt::format(
        "“No difference shown” means that the data do not tell the methods apart, not that they are equal. p is corrected for all {} "
        "pairs (Holm); an A/A difference up to the seed noise arises in 95 % of repeats of one and the same method.",
        summary_.pairs.size())));
    return section;
  }

  Section pairs() const {
    Table table = difference_table("First minus second, in percentage points", true);
    for (const Difference& pair : summary_.pairs) table.rows.push_back(difference_row(study_, pair, true));
    return {.id = "pairs", .title = "Every pair of methods", .blocks = {block(std::move(table))}, .folded = true};
  }

  Section costs() const {
    Table table{.caption = "Cost of one run (mean over seeds)",
                .columns = {{"Method", false},
                            {capitalized(study_.score_name)},
                            {"Training time"},
                            {capitalized(study_.unit) + "/s"},
                            {"Peak memory"},
                            {"Trained parameters"},
                            {"Adapter size"},
                            {"On the Pareto front of", false}}};
    for (const MethodSummary& method : summary_.methods) {
      if (!method.tested()) continue;
      if (method.method == summary_.recommendation.method) table.highlight = static_cast<int>(table.rows.size());
      std::vector<std::string> best;
      for (const CostAxis& axis : summary_.costs) {
        if (std::find(axis.pareto.begin(), axis.pareto.end(), method.method) != axis.pareto.end()) best.push_back(axis.name);
      }
      table.rows.push_back({title_of(study_, method.method), percent(method.score.mean), duration(method.seconds),
                            count(method.units_per_second), bytes(method.peak_bytes), count(method.trainable_parameters),
                            bytes(method.adapter_bytes), best.empty() ? "–" : fmt::format("{}", fmt::join(best, ", "))});
    }
    return {.id = "costs",
            .title = "Quality against cost",
            .blocks = {figure("costs",
                              "Further left is cheaper, higher is better. The dashed line joins the methods that no other beats in "
                              "both (the Pareto set); bars are 95 % intervals."),
                       block(std::move(table))}};
  }

  Section curves() const {
    return {.id = "curves",
            .title = "Learning curves",
            .blocks = {figure("curves", fmt::format("Validation {} during training: line, mean over seeds; band, from the lowest to the "
                                                    "highest seed. A line ends where the first of its seeds stopped.",
                                                    by_loss() ? "loss under fixed noise" : "score"))}};
  }

  Section search() const {
    const std::string what = by_loss() ? "loss" : "score";
    Table table{.caption = fmt::format("Best validation {} of each search run", what),
                .columns = {{"Method", false}, {"Learning rate"}, {"Seed"}, {"Best validation " + what}, {"Chosen", false}}};
    for (const std::string& method : study_.methods) {
      const auto chosen = choose_learning_rate(study_, method);
      for (const Run& run : study_.runs) {
        if (run.method != method || run.phase != RunPhase::search) continue;
        double best = kUnknown;
        for (const CurvePoint& point : run.curve) best = std::fmax(best, quality(point));
        table.rows.push_back(
            {title_of(study_, method), rate(run.learning_rate), fmt::format("{}", run.seed),
             run.status == RunStatus::ok ? (by_loss() ? decimal(-best, 5) : percent(best)) : std::string(to_string(run.status)),
             chosen && *chosen == run.learning_rate ? "yes" : ""});
      }
    }
    return {.id = "search",
            .title = "Search for the learning rate",
            .blocks = {paragraph("Every rate was tried on the training and validation data alone; the test set played no part in it."),
                       block(std::move(table))},
            .folded = true};
  }

  Section recall() const {
    Table table{.caption = "Share of each label's test items that were recognised", .columns = {{"Label", false}, {"Test items"}}};
    for (const MethodSummary& method : summary_.methods) {
      if (method.tested()) table.columns.push_back({title_of(study_, method.method)});
    }
    for (size_t label = 0; label < study_.label_names.size(); ++label) {
      const auto items = std::count(study_.test_labels.begin(), study_.test_labels.end(), static_cast<int32_t>(label));
      std::vector<std::string> row{study_.label_names[label], fmt::format("{}", items)};
      for (const MethodSummary& method : summary_.methods) {
        if (method.tested()) row.push_back(percent(method.recall[label]));
      }
      table.rows.push_back(std::move(row));
    }
    return {.id = "labels", .title = "Recall of each label", .blocks = {block(std::move(table))}, .folded = true};
  }

  Section runs() const {
    Table table{.caption = "Every run; those that did not end well first",
                .columns = {{"Method", false},
                            {"Phase", false},
                            {"Learning rate"},
                            {"Seed"},
                            {"Status", false},
                            {"Test " + study_.score_name},
                            {"Best step"},
                            {"Training time"},
                            {"Error", false}}};
    for (const bool ok : {false, true}) {
      for (const Run& run : study_.runs) {
        if ((run.status == RunStatus::ok) != ok) continue;
        table.rows.push_back({title_of(study_, run.method), std::string(to_string(run.phase)), rate(run.learning_rate),
                              fmt::format("{}", run.seed), std::string(to_string(run.status)),
                              percent(run.tested() ? run.test_score : kUnknown), fmt::format("{}", run.best_step), duration(run.seconds),
                              run.error});
      }
    }
    const bool all_ok = std::all_of(study_.runs.begin(), study_.runs.end(), [](const Run& run) { return run.status == RunStatus::ok; });
    return {.id = "runs", .title = "Runs", .blocks = {block(std::move(table))}, .folded = all_ok};
  }

  Section facts(std::string id, std::string title, const Json& values, bool folded) const {
    Table table{.caption = title, .columns = {{"Name", false}, {"Value", false}}};
    flatten(values, "", table.rows);
    if (table.rows.empty()) table.rows.push_back({"–", "nothing recorded"});
    return {.id = std::move(id), .title = std::move(title), .blocks = {block(std::move(table))}, .folded = folded};
  }

  Section method() const {
    std::vector<std::string> items = measure_explanations(study_);
    items.insert(
        items.end(),
        {by_loss() ? "Methods are paired: the same seeds (data order, noise, timesteps) and the same test pictures, each drawn from the "
                     "same noise, for each. A difference is taken picture by picture."
                   : "Methods are paired: the same seeds (data order, start of the head) and the same test items for each. A "
                     "difference is taken item by item.",
         "Intervals hold for new seeds and new test items at once. The seeds' part follows Student's t with (seeds − 1) degrees of "
         "freedom, the items' part with (items − 1); their sum is integrated numerically (Behrens–Fisher).",
         "For a difference, the seeds' variance is the larger of the pair's own and the one pooled over all methods, with (methods − "
         "1) × (seeds − 1) degrees of freedom.",
         "The two-way bootstrap resamples seeds and items. With few seeds it is too narrow (about 75 % instead of 95 % with three "
         "seeds that vary much), so it is shown as a check and decides nothing. A sign-flip test over three seeds cannot go below p "
         "= 0.25.",
         "Seed noise (A/A) is measured on seed pairs of one method and scaled to means over the seeds used.",
         fmt::format("Learning rates are chosen on validation data{}; the test set is used once, by the final runs.",
                     by_loss() ? ", by the loss under fixed noise" : ""),
         "Recommendation: among the methods that are not shown worse than the best and lose at most the margin, the one with the "
         "smallest adapter; sizes within 10 % count as equal and training time decides."});
    return {
        .id = "method", .title = "How the figures come about", .blocks = {{.kind = Kind::list, .items = std::move(items)}}, .folded = true};
  }

  Section reproduce() const {
    Section section{.id = "reproduce", .title = "Reproduce", .blocks = {}};
    if (!study_.command.empty()) section.blocks.push_back({.kind = Kind::code, .text = study_.command});
    section.blocks.push_back(paragraph(fmt::format("Model {}; data SHA-256 {}.", study_.model, study_.data_hash)));
    return section;
  }

 private:
  bool by_loss() const { return !study_.measures.empty(); }

  static void flatten(const Json& value, const std::string& name, std::vector<std::vector<std::string>>& rows) {
    if (value.is_object()) {
      for (const auto& [key, member] : value.items()) flatten(member, name.empty() ? key : name + " · " + key, rows);
    } else if (value.is_array() && std::all_of(value.begin(), value.end(), [](const Json& item) { return item.is_primitive(); })) {
      std::vector<std::string> items;
      for (const Json& item : value) items.push_back(item.is_string() ? item.get<std::string>() : item.dump());
      rows.push_back({name, fmt::format("{}", fmt::join(items, ", "))});
    } else {
      rows.push_back({name, value.is_string() ? value.get<std::string>() : value.dump()});
    }
  }

  const Study& study_;
  const Summary& summary_;
};

/// What there is to test on.
std::string size_of(const Study& study) {
  if (study.measures.empty()) return fmt::format("{} labels · {} test items", study.label_names.size(), study.test_labels.size());
  return fmt::format("{} test pictures", study.measures.front().base.size());
}

}  // namespace

Block paragraph(std::string text) { return {.kind = Kind::paragraph, .text = std::move(text)}; }
Block block(Table table) { return {.kind = Kind::table, .table = std::move(table)}; }

std::string capitalized(std::string text) {
  if (!text.empty()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

Table difference_table(std::string caption, bool all) {
  Table table{.caption = std::move(caption), .columns = {{"Comparison", false}, {"Difference"}, {"95 % interval"}}};
  if (all) table.columns.insert(table.columns.end(), {{"Bootstrap interval"}, {"Corrected interval"}});
  table.columns.insert(table.columns.end(), {{"Seed noise (A/A)"}, {"p (Holm)"}, {"Verdict", false}});
  return table;
}

std::vector<std::string> difference_row(const Study& study, const Difference& pair, bool all) {
  std::vector<std::string> row{fmt::format("{} − {}", title_of(study, pair.first), title_of(study, pair.second)),
                               points(pair.estimate.mean), points_range(pair.estimate.interval)};
  if (all) row.insert(row.end(), {points_range(pair.bootstrap), points_range(pair.corrected)});
  const std::string noise = std::isfinite(pair.noise_floor) ? fmt::format("±{:.1f}", 100 * pair.noise_floor) : "–";
  row.insert(row.end(), {noise, pair.verdict == Verdict::one_seed ? "–" : p_text(pair.p_holm), std::string(to_string(pair.verdict))});
  return row;
}

Document make_document(const Study& study, const Summary& summary, const std::filesystem::path& folder) {
  const Builder builder(study, summary);
  Document document{.title = study.title.empty() ? "Comparison of adaptation methods" : study.title};
  const auto tested = std::count_if(summary.methods.begin(), summary.methods.end(), [](const auto& method) { return method.tested(); });
  document.subtitle = fmt::format("{} · {} methods tested · {}", study.model, tested, size_of(study));
  document.recommendation = summary.recommendation.sentence;
  document.cautions = summary.recommendation.cautions;
  document.notes = summary.notes;
  const bool drawn = !study.measures.empty();
  if (drawn) {
    document.sections = {closeness_section(study, summary), pictures_section(study, folder)};
  } else {
    document.sections = {builder.results()};
  }
  document.sections.push_back(builder.differences());
  if (drawn)
    document.sections.insert(document.sections.end(), {measures_section(study, summary), prompts_section(study, summary, folder),
                                                       forgetting_section(study, summary, folder)});
  if (auto section = conditions_section(study, summary)) document.sections.push_back(std::move(*section));
  std::erase_if(document.sections, [](const Section& section) { return section.blocks.empty(); });
  for (auto&& section : {builder.pairs(), builder.costs(), builder.curves(), builder.search()}) document.sections.push_back(section);
  if (!study.label_names.empty() && tested > 0) document.sections.push_back(builder.recall());
  document.sections.push_back(builder.runs());
  document.sections.push_back(builder.facts("data", "Data", study.data_report, false));
  document.sections.push_back(builder.facts("settings", "Settings", study.options, true));
  Json surroundings = study.machine;
  surroundings.update(study.versions);
  document.sections.push_back(builder.facts("machine", "Machine and versions", surroundings, true));
  document.sections.push_back(builder.method());
  document.sections.push_back(builder.reproduce());
  return document;
}

}  // namespace lowrank::study
