#include <cmath>

#include "lowrank/base/file.h"
#include "lowrank/study/format.h"
#include "lowrank/study/measures.h"
#include "lowrank/study/report_sections.h"

namespace lowrank::study {

namespace {

constexpr int kDigits = 4;

std::string distance(double value) { return decimal(value, kDigits); }

/// The best possible, or nothing where it is no better than the base.
std::string best_share(const Measure& measure) { return has_best(measure) ? percent(1) : "–"; }

std::string noise_sentence(const Measure& measure) {
  const double noise = drawing_noise(measure);
  if (!std::isfinite(noise)) return "";
  return fmt::format(
      " Drawn again with other noise, one and the same model differs by up to ±{:.1f} points (A/A, without any training "
      "seed); methods are compared under equal noise, which takes part of that away.",
      100 * noise);
}

/// Closeness and distance of each method by one measure.
Table measure_table(const Study& study, const Measure& measure, const Summary& by, std::string caption, const char* best_title) {
  Table table{.caption = std::move(caption),
              .columns = {{"Method", false}, {capitalized(measure.title)}, {"Closeness"}, {"95 % interval"}, {"SD over seeds"}, {"Seeds"}}};
  table.rows.push_back({"base, before adaptation", distance(mean_of(measure.base)), percent(0), "–", "–", "–"});
  for (const MethodSummary& method : by.methods) {
    if (!method.tested()) continue;
    table.rows.push_back({title_of(study, method.method), distance(mean_distance(study, method.method, measure)),
                          percent(method.score.mean), percent_range(method.score.interval), decimal(100 * method.seed_deviation, 2),
                          fmt::format("{}", method.seeds.size())});
  }
  table.rows.push_back({best_title, distance(mean_of(measure.best)), best_share(measure), "–", "–", "–"});
  return table;
}

Table pairs_table(const Study& study, const Summary& by, std::string caption) {
  Table table = difference_table(std::move(caption), false);
  for (const Difference& pair : by.pairs) table.rows.push_back(difference_row(study, pair, false));
  return table;
}

std::string picture_file(const std::string& column, const Sheet& sheet, size_t row) {
  return fmt::format("pictures/{}/{}-{}.png", column, sheet.name, row);
}

/// The run of a method whose pictures were kept, if there is one.
std::string pictured_run(const Study& study, const std::string& method, const std::filesystem::path& folder) {
  for (const Run& run : study.runs) {
    if (run.method == method && run.tested() && std::filesystem::is_directory(folder / "pictures" / run_name(run))) return run_name(run);
  }
  return "";
}

/// The contact sheet of that name, where there are pictures of it.
void add_sheet(Section& section, const Study& study, const std::string& name, const std::filesystem::path& folder) {
  std::vector<std::pair<std::string, std::string>> columns{{"truth", "truth"}, {"best possible", "best"}, {"base", "base"}};
  for (const std::string& method : study.methods) {
    if (const std::string run = pictured_run(study, method, folder); !run.empty()) columns.emplace_back(title_of(study, method), run);
  }
  for (const Sheet& sheet : study.sheets) {
    if (sheet.name != name) continue;
    std::erase_if(columns, [&](const auto& column) { return !std::filesystem::exists(folder / picture_file(column.second, sheet, 0)); });
    if (columns.empty()) continue;
    PictureTable table{.caption = sheet.title, .columns = {}, .rows = {}};
    for (const auto& [title, _] : columns) table.columns.push_back(title);
    for (size_t row = 0; row < sheet.captions.size(); ++row) {
      PictureTable::Row& line = table.rows.emplace_back(PictureTable::Row{sheet.captions[row], {}, {}});
      for (const auto& [_, column] : columns) {
        line.files.push_back(picture_file(column, sheet, row));
        line.bytes.push_back(std::filesystem::exists(folder / line.files.back()) ? read_file(folder / line.files.back()) : "");
      }
    }
    section.blocks.push_back({.kind = Block::Kind::pictures, .pictures = std::move(table)});
  }
}

}  // namespace

Section closeness_section(const Study& study, const Summary& summary) {
  const Measure& judge = study.measures.front();
  Table table{.caption = "The test pictures, drawn",
              .columns = {{"Method", false}, {"Closeness"}, {"95 % interval"}, {"SD over seeds"}, {"Learning rate"}, {"Seeds"}}};
  std::vector<const Measure*> shown;
  for (const Measure& measure : study.measures) {
    if (measure.of != judge.of) continue;
    shown.push_back(&measure);
    table.columns.push_back({capitalized(measure.title)});
  }
  const auto row = [&](std::vector<std::string> cells, auto&& value) {
    for (const Measure* measure : shown) cells.push_back(distance(value(*measure)));
    table.rows.push_back(std::move(cells));
  };
  row({"base, before adaptation", percent(0), "–", "–", "–", "–"}, [](const Measure& measure) { return mean_of(measure.base); });
  for (const MethodSummary& method : summary.methods) {
    if (!method.tested()) continue;
    if (method.method == summary.recommendation.method) table.highlight = static_cast<int>(table.rows.size());
    row({title_of(study, method.method), percent(method.score.mean), percent_range(method.score.interval),
         decimal(100 * method.seed_deviation, 2), rate(method.learning_rate), fmt::format("{}", method.seeds.size())},
        [&](const Measure& measure) { return mean_distance(study, method.method, measure); });
  }
  row({"best possible", best_share(judge), "–", "–", "–", "–"}, [](const Measure& measure) { return mean_of(measure.best); });
  std::string words = fmt::format(
      "Every test caption was drawn once by each run, from the same noise, and its distance to the true picture measured; lower is better. "
      "Closeness is the share of the way from the base to the best possible that a method goes by {}: 0 % draws as far from the truth as "
      "the base "
      "does, 100 % as near as the base's autoencoder itself comes when it is given the true picture. The interval is for new seeds and new "
      "captions.",
      judge.title);
  return {.id = "results", .title = "Results", .blocks = {block(std::move(table)), paragraph(words + noise_sentence(judge))}};
}

Section measures_section(const Study& study, const Summary& summary) {
  Section section{.id = "measures", .title = "By the other measures", .blocks = {}};
  for (size_t i = 1; i < study.measures.size(); ++i) {
    const Measure& measure = study.measures[i];
    if (measure.of != study.measures.front().of) continue;
    section.blocks.push_back(
        block(measure_table(study, measure, summary.measures[i], capitalized(measure.title) + " to the true pictures", "best possible")));
    if (!summary.measures[i].pairs.empty()) {
      section.blocks.push_back(
          block(pairs_table(study, summary.measures[i], fmt::format("Paired differences of closeness by {}, in points", measure.title))));
    }
    section.blocks.push_back(paragraph(fmt::format("The {} is {}.{}", measure.title, measure.explanation, noise_sentence(measure))));
  }
  if (!section.blocks.empty()) section.blocks.push_back(paragraph("p is corrected (Holm) over the pairs of each measure by itself."));
  return section;
}

Section forgetting_section(const Study& study, const Summary& summary, const std::filesystem::path& folder) {
  Section section{.id = "forgetting", .title = "Forgetting", .blocks = {}};
  for (size_t i = 0; i < study.measures.size(); ++i) {
    const Measure& measure = study.measures[i];
    if (measure.of != "forgetting") continue;
    section.blocks.push_back(
        block(measure_table(study, measure, summary.measures[i],
                            fmt::format("The base's own pictures, drawn with the adapter on: {}", measure.title), "best possible")));
    if (!summary.measures[i].pairs.empty()) {
      section.blocks.push_back(
          block(pairs_table(study, summary.measures[i], fmt::format("Paired differences of closeness by {}, in points", measure.title))));
    }
  }
  if (!section.blocks.empty()) {
    section.blocks.push_back(
        paragraph("The same captions and noise before and after adaptation, measured against pictures that the base was made on. Below 0 "
                  "%, a method has "
                  "moved away from what the base knew, by that share of the way from the base to the best possible; with the adapter off, "
                  "nothing is lost."));
    add_sheet(section, study, "forgetting", folder);
  }
  return section;
}

Section prompts_section(const Study& study, const Summary& summary, const std::filesystem::path& folder) {
  Section section{.id = "prompts", .title = "Prompts without a true picture", .blocks = {}};
  std::vector<size_t> places;
  for (size_t i = 0; i < study.measures.size(); ++i) {
    if (study.measures[i].of == "prompts") places.push_back(i);
  }
  if (places.empty()) return section;
  Table table{.caption = "Share of prompts whose picture shows something else than was asked for", .columns = {{"Method", false}}};
  Table pairs = difference_table("Paired differences of closeness, in points", false);
  std::vector<std::string> base{"base, before adaptation"}, best{"the examples themselves, leaving one out"}, items;
  for (const size_t i : places) {
    const Measure& measure = study.measures[i];
    table.columns.push_back({fmt::format("{} ({} prompts)", capitalized(measure.title), measure.base.size())});
    base.push_back(percent(mean_of(measure.base)));
    best.push_back(percent(mean_of(measure.best)));
    items.push_back(fmt::format("“{}” is {}.", capitalized(measure.title), measure.explanation));
    for (const Difference& pair : summary.measures[i].pairs) {
      pairs.rows.push_back(difference_row(study, pair, false));
      pairs.rows.back()[0] = fmt::format("{}: {}", capitalized(measure.title), pairs.rows.back()[0]);
    }
  }
  table.rows.push_back(base);
  for (const MethodSummary& method : summary.methods) {
    if (!method.tested()) continue;
    auto& row = table.rows.emplace_back(std::vector<std::string>{title_of(study, method.method)});
    for (const size_t i : places) row.push_back(percent(mean_distance(study, method.method, study.measures[i])));
  }
  table.rows.push_back(best);
  items.emplace_back(
      "It tells whether a picture is nearer to examples of what was asked for than to those of the other classes. It does not tell how "
      "good a "
      "picture of it is, and a measure that errs on the examples themselves errs on drawings too: read it against their row.");
  items.emplace_back(
      "Closeness is the share of the way from the base's errors to those of the examples; p is corrected (Holm) over the pairs of "
      "each column by itself.");
  section.blocks = {block(std::move(table)), {.kind = Block::Kind::list, .items = std::move(items)}};
  if (!pairs.rows.empty()) section.blocks.push_back(block(std::move(pairs)));
  add_sheet(section, study, "prompts", folder);
  return section;
}

Section pictures_section(const Study& study, const std::filesystem::path& folder) {
  Section section{.id = "pictures", .title = "Pictures", .blocks = {}};
  add_sheet(section, study, study.measures.front().of, folder);
  if (!section.blocks.empty()) {
    section.blocks.push_back(
        paragraph("Captions are spread evenly over the set, not chosen. A row's pictures begin with the same noise; a "
                  "method's are those of its first seed."));
  }
  return section;
}

std::vector<std::string> measure_explanations(const Study& study) {
  std::vector<std::string> items;
  for (const Measure& measure : study.measures) {
    if (measure.of != "test") continue;
    items.push_back(fmt::format("The {} is {}.", measure.title, measure.explanation));
  }
  if (items.empty()) return items;
  items.emplace_back(
      "Closeness of a picture: (the base's distance − the method's distance) over (mean distance of the base − mean distance of the best "
      "possible). The denominator is one number for all pictures, so a method's mean is the share of the way that it goes, and a paired "
      "difference of two methods is the difference of their distances in that unit.");
  return items;
}

}  // namespace lowrank::study
