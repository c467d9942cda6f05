#include <algorithm>
#include <array>
#include <numeric>

#include "lowrank/base/error.h"
#include "lowrank/data/checks.h"
#include "lowrank/data/dataset.h"
#include "lowrank/data/encode.h"
#include "lowrank/data/parts.h"
#include "lowrank/text/tokenizer.h"

namespace lowrank::data {

namespace {

struct Tables {
  Collection rows;
  bool has_label_lists = false;
  std::array<bool, 3> given{};  // by Part: a file was named
};

void append(Tables& tables, Table table, const DataFile& file, DataReport& report) {
  tables.given[static_cast<size_t>(file.part)] = true;
  tables.has_label_lists |= table.has_label_lists;
  report.files.push_back({file.path.string(), table.format, file.part, static_cast<int64_t>(table.rows.size()), table.blank_lines});
  const std::string name = file.path.filename().string();
  for (auto& row : table.rows) {
    tables.rows.places.push_back(fmt::format("{}:{}", name, row.line));
    tables.rows.keys.push_back(duplicate_key(row));
    tables.rows.parts.push_back(file.part);
    tables.rows.rows.push_back(std::move(row));
  }
}

/// Every file is read with the columns of the first.
Tables read_files(const std::vector<DataFile>& files, const DataOptions& options, DataReport& report) {
  Tables tables;
  TableOptions how = table_options(options);
  for (const auto& file : files) {
    Table table = read_table(file.path, how);
    if (report.files.empty()) {
      how.text_column = report.text_column = table.columns.text;
      how.text_pair_column = report.text_pair_column = table.columns.text_pair;
      how.label_column = report.label_column = table.columns.label;
      report.detected = table.columns.detected;
      report.unused_columns = table.columns.unused;
    }
    append(tables, std::move(table), file, report);
  }
  return tables;
}

void set_target(Example& example, const Row& row, Task task, const LabelSet& labels) {
  if (task == Task::single_label || task == Task::multi_label) {
    for (const auto& label : row.labels) example.labels.push_back(labels.index(label));
    std::sort(example.labels.begin(), example.labels.end());
    return;
  }
  double value = 1;
  if (!row.labels.empty()) parse_value(row.labels.front(), value);
  example.value = static_cast<float>(value);
}

/// A wrong column or task seldom fails; it shows in the labels.
void warn_of_odd_labels(const LabelSet& labels, DataReport& report) {
  if (!report.task_detected || report.task != Task::single_label) return;
  const int64_t training = std::accumulate(report.labels.begin(), report.labels.end(), int64_t{0},
                                           [](int64_t sum, const auto& item) { return sum + item.rows[0]; });
  if (training >= 20 && labels.size() * 2 > training) {
    report.warnings.push_back(fmt::format("{} different labels in {}: does column '{}' hold the labels?", labels.size(),
                                          counted(training, "training row"), report.label_column));
  }
  double value = 0;
  const auto is_number = [&](const auto& name) { return parse_value(name, value); };
  if (labels.size() > 2 && std::all_of(labels.names.begin(), labels.names.end(), is_number)) {
    report.warnings.push_back("whole numbers as labels are taken as classes; --task regression takes them as values");
  }
}

void note_truncated(const Collection& rows, const std::vector<EncodedRow>& encoded, DataReport& report) {
  for (size_t i = 0; i < encoded.size(); ++i) {
    const auto& [full, kept] = encoded[i].count;
    if (kept < full) report.truncated.push_back({rows.places[i], full, full - kept});
  }
  report.truncated_rows = static_cast<int64_t>(report.truncated.size());
  std::stable_sort(report.truncated.begin(), report.truncated.end(), [](const auto& a, const auto& b) { return a.tokens > b.tokens; });
  report.truncated.resize(std::min(report.truncated.size(), DataReport::kListed));
}

void note_lengths(const Collection& rows, const std::vector<EncodedRow>& encoded, DataReport& report) {
  std::array<std::vector<TokenCount>, 3> by_part;
  std::vector<TokenCount> all;
  for (size_t i = 0; i < encoded.size(); ++i) {
    by_part[static_cast<size_t>(rows.parts[i])].push_back(encoded[i].count);
    all.push_back(encoded[i].count);
  }
  for (size_t part = 0; part < by_part.size(); ++part) report.lengths[part] = summarize_lengths(by_part[part]);
  report.histogram = length_histogram(all);
  note_truncated(rows, encoded, report);
}

/// Tokenizes the rows into one data set a part and completes the report.
std::array<Dataset, 3> finish(const Collection& rows, const DataOptions& options, const LabelSet& labels, text::Tokenizer& tokenizer,
                              const ProgressSink& progress, DataReport& report) {
  const Task task = report.task;
  check_labels(rows, task, labels);
  count_labels(rows, labels, report);
  warn_of_few(rows, report);
  warn_of_odd_labels(labels, report);
  report.hash = hash_rows(rows);
  report.max_length = options.max_length;
  tokenizer.set_max_length(options.max_length);
  auto encoded = encode_rows(rows.rows, task, tokenizer, options.threads, progress);
  note_lengths(rows, encoded, report);
  std::array<Dataset, 3> sets;
  for (auto& set : sets) {
    set.task = task;
    set.classes = labels.size();
  }
  for (size_t i = 0; i < encoded.size(); ++i) {
    Example& example = encoded[i].example;
    example.id = static_cast<int64_t>(i);
    set_target(example, rows.rows[i], task, labels);
    sets[static_cast<size_t>(rows.parts[i])].examples.push_back(std::move(example));
  }
  return sets;
}

}  // namespace

Split prepare(const DataOptions& options, text::Tokenizer& tokenizer, const ProgressSink& progress) {
  Split split;
  DataReport& report = split.report;
  Tables tables = read_files(locate_files(options), options, report);
  report.task_detected = options.task == "auto";
  report.task =
      report.task_detected ? detect_task(tables.rows.rows, tables.has_label_lists, report.files.front().path) : parse_task(options.task);
  check(report.task != Task::embedding || !report.text_pair_column.empty(), ErrorKind::invalid_argument, "data",
        "task embedding needs two texts a row: name the second with --text-pair-column");
  split_missing(tables.rows, tables.given, report.task, options, report);
  find_repeats(tables.rows, report);
  mend_leakage(tables.rows, options, report);
  split.labels = labels_of_training(tables.rows, report.task);
  auto sets = finish(tables.rows, options, split.labels, tokenizer, progress, report);
  split.train = std::move(sets[0]);
  split.validation = std::move(sets[1]);
  split.test = std::move(sets[2]);
  return split;
}

Evaluation prepare_evaluation(const std::filesystem::path& file, const DataOptions& options, Task task, const LabelSet& labels,
                              text::Tokenizer& tokenizer, const ProgressSink& progress) {
  Evaluation evaluation;
  DataOptions how = options;
  how.task = to_string(task);
  Tables tables = read_files({{Part::test, file}}, how, evaluation.report);
  evaluation.report.task = task;
  find_repeats(tables.rows, evaluation.report);
  evaluation.dataset = std::move(finish(tables.rows, how, labels, tokenizer, progress, evaluation.report)[2]);
  return evaluation;
}

}  // namespace lowrank::data
