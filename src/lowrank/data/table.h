// A file of labelled text: JSON lines, CSV, TSV or plain lines, read into rows.
// Columns are named by the options or detected by their usual names; what was detected is kept for the report.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace lowrank::data {

struct Row {
  std::string text, text_pair;
  std::vector<std::string> labels;  // one; several where the cell is a list; none where the file has no label column
  int64_t line = 0;                 // 1-based in its file
};

struct TableOptions {
  std::string format = "auto";                              // auto, jsonl, csv, tsv or lines
  std::string text_column, text_pair_column, label_column;  // "" detects: see detect_columns in columns.h
  std::string label_separator;                              // "|" reads the cell "a|b" as the labels a and b; "" keeps it whole
  bool labels_required = true;                              // false: a missing label column or cell is no error
};

/// Which column plays which part; "" for none.
struct Columns {
  std::string text, text_pair, label;
  std::vector<std::string> unused;
  std::vector<std::string> detected;  // the parts that nobody named: "text column 'sentence'"
};

struct Table {
  std::vector<Row> rows;
  std::string format;  // the one read
  Columns columns;
  bool has_label_lists = false;
  int64_t blank_lines = 0;  // skipped
};

/// Throws Error{io} when the file cannot be read; Error{file_format} naming every bad line (not UTF-8, broken JSON,
/// ragged, empty text, no label) or the missing column with near misses; Error{file_format} when there is no row.
Table read_table(const std::filesystem::path& path, const TableOptions& options);

/// read_table over text that is already in memory; `where` stands for its path in messages and gives the format by its
/// ending.
Table parse_table(std::string_view text, std::string_view where, const TableOptions& options);

}  // namespace lowrank::data
