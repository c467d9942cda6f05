#include <algorithm>

#include "lowrank/data/report.h"

namespace lowrank::data {

namespace {

constexpr size_t kWidth = 100;

void line(std::string& out, std::string_view name, std::string_view text) {
  out += fmt::format("  {:<12}{}\n", name, text.substr(0, text.find_last_not_of(' ') + 1));
}

/// `items` separated by ", ", broken at kWidth, all under the first.
void wrapped(std::string& out, std::string_view name, const std::vector<std::string>& items) {
  std::string row;
  for (size_t i = 0; i < items.size(); ++i) {
    const std::string item = items[i] + (i + 1 < items.size() ? ", " : "");
    if (!row.empty() && 14 + row.size() + item.size() > kWidth) {
      line(out, name, row);
      name = "";
      row.clear();
    }
    row += item;
  }
  line(out, name, row);
}

/// The first of `total` items.
std::string first_items(std::vector<std::string> items, int64_t total, size_t shown = 3) {
  items.resize(std::min(items.size(), shown));
  const auto more = total - static_cast<int64_t>(items.size());
  return fmt::format("{}{}", fmt::join(items, ", "), more > 0 ? fmt::format(", … {} more", more) : "");
}

void list_sources(std::string& out, const DataReport& report) {
  for (const auto& file : report.files) {
    line(out, &file == report.files.data() ? "files" : "",
         fmt::format("{}  {}, {}{}", file.path, counted(file.rows, "row"), file.format,
                     file.blank_lines == 0 ? "" : ", " + counted(file.blank_lines, "blank line") + " skipped"));
  }
  const std::string classes = report.labels.empty() ? "" : fmt::format(", {} labels", report.labels.size());
  line(out, "task", fmt::format("{}{}{}", to_string(report.task), classes, report.task_detected ? " (detected)" : ""));
  std::vector<std::string> columns = {"text: " + report.text_column};
  if (!report.text_pair_column.empty()) columns.push_back("pair: " + report.text_pair_column);
  if (!report.label_column.empty()) columns.push_back("label: " + report.label_column);
  for (const auto& name : report.unused_columns) columns.push_back(fmt::format("unused: '{}'", name));
  if (!report.detected.empty()) columns.push_back(fmt::format("detected: {}", fmt::join(report.detected, " and ")));
  wrapped(out, "columns", columns);
  if (report.was_split) line(out, "split", fmt::format("stratified, seed {}", report.split_seed));
}

void list_lengths(std::string& out, const DataReport& report) {
  out += fmt::format("\n  {:<12}{:>9}{:>12}{:>8}{:>7}{:>8}{:>7}{:>7}{:>9}\n", "tokens", "rows", "tokens", "mean", "min", "median", "p95",
                     "max", "cut rows");
  for (const Part part : {Part::train, Part::validation, Part::test}) {
    const auto& stats = report.lengths[static_cast<size_t>(part)];
    out += fmt::format("  {:<12}{:>9}{:>12}{:>8.1f}{:>7}{:>8}{:>7}{:>7}{:>9}\n", to_string(part), stats.rows, stats.tokens, stats.mean,
                       stats.min, stats.median, stats.p95, stats.max, stats.truncated_rows);
  }
  int64_t most = 1;
  for (const auto& bin : report.histogram) most = std::max(most, bin.rows);
  out += "\n";
  for (const auto& bin : report.histogram) {
    std::string bar;
    for (int64_t i = 0; i < (bin.rows * 40 + most - 1) / most; ++i) bar += "█";
    out += fmt::format("  {:>5} – {:<5} {:>8}  {}\n", bin.low, bin.high, bin.rows, bar);
  }
}

void list_labels(std::string& out, const DataReport& report) {
  if (report.labels.empty()) return;
  const auto& first = report.labels.front().rows;
  if (std::all_of(report.labels.begin(), report.labels.end(), [&](const auto& item) { return item.rows == first; })) {
    out += fmt::format("\n  labels      each with {} training, {} validation, {} test rows\n", first[0], first[1], first[2]);
    std::vector<std::string> names;
    for (const auto& item : report.labels) names.push_back(item.label);
    return wrapped(out, "", names);
  }
  constexpr size_t kShown = 40;
  size_t width = 10;
  const size_t shown = std::min(report.labels.size(), kShown);
  for (size_t i = 0; i < shown; ++i) width = std::max(width, report.labels[i].label.size());
  out += fmt::format("\n  {:<{}}{:>9}{:>12}{:>8}\n", "labels", width + 2, "train", "validation", "test");
  for (size_t i = 0; i < shown; ++i) {
    const auto& [label, rows] = report.labels[i];
    out += fmt::format("  {:<{}}{:>9}{:>12}{:>8}\n", label, width + 2, rows[0], rows[1], rows[2]);
  }
  if (report.labels.size() > shown) out += fmt::format("  … and {} more labels\n", report.labels.size() - shown);
}

void repeats(std::string& out, std::string_view name, const std::string& summary, const std::vector<RepeatedText>& texts) {
  line(out, name, summary);
  constexpr size_t kShown = 3;
  for (size_t i = 0; i < std::min(texts.size(), kShown); ++i) {
    line(out, "",
         fmt::format("  \"{}\" ({}) at {}", texts[i].text, first_items(texts[i].labels, static_cast<int64_t>(texts[i].labels.size())),
                     first_items(texts[i].places, texts[i].rows)));
  }
}

void list_repeats(std::string& out, const DataReport& report) {
  const std::string_view noun = report.pictures.empty() ? "text" : "picture";
  repeats(out, "duplicates", report.duplicate_rows == 0 ? "none" : counted(report.duplicate_rows, "repeated row"), report.duplicates);
  repeats(out, "conflicts", report.conflicting_texts == 0 ? "none" : counted(report.conflicting_texts, noun) + " with different labels",
          report.conflicts);
  std::string leakage = report.leaked_texts == 0 ? "none" : counted(report.leaked_texts, noun) + " in two parts";
  if (report.dropped_rows > 0) leakage += "; " + counted(report.dropped_rows, "row") + " dropped for it";
  repeats(out, "leakage", leakage, report.leaks);
  for (const auto& warning : report.warnings) line(out, "warning", warning);
  line(out, "sha256", report.hash);
}

void list_checks(std::string& out, const DataReport& report) {
  out += "\n";
  std::string cut = "none";
  if (report.truncated_rows > 0) {
    int64_t tokens = 0;
    for (const auto& stats : report.lengths) tokens += stats.cut_tokens;
    std::vector<std::string> rows;
    for (const auto& row : report.truncated) rows.push_back(fmt::format("{} ({} tokens)", row.place, row.tokens));
    cut = fmt::format("{} at {} tokens, {} tokens lost; longest {}", counted(report.truncated_rows, "row"), report.max_length, tokens,
                      first_items(rows, report.truncated_rows));
  }
  line(out, "cut", cut);
  list_repeats(out, report);
}

}  // namespace

std::string DataReport::to_text() const {
  std::string out;
  if (pictures.empty()) {
    out = "Data\n";
    list_sources(out, *this);
    list_lengths(out, *this);
    list_labels(out, *this);
    list_checks(out, *this);
    return out;
  }
  for (const auto& report : pictures) out += report.to_text();
  if (was_split) line(out, "split", fmt::format("stratified, seed {}", split_seed));
  list_labels(out, *this);
  list_repeats(out, *this);
  return out;
}

}  // namespace lowrank::data
