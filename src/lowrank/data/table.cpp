#include "lowrank/data/table.h"

#include <algorithm>
#include <unordered_map>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/base/json.h"
#include "lowrank/data/columns.h"
#include "lowrank/data/csv.h"
#include "lowrank/data/normalize.h"

namespace lowrank::data {

namespace {

/// Any format, before it is known which column means what. Cells align with names; absent ones are null.
struct RawTable {
  std::vector<std::string> names;
  std::vector<std::pair<int64_t, std::vector<Json>>> records;  // line, cells
  int64_t blank_lines = 0;
};

std::string detect_format(std::string_view text, std::string_view where, const TableOptions& options) {
  if (options.format != "auto") return options.format;
  std::string ending = std::filesystem::path(where).extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
  if (ending == ".jsonl" || ending == ".ndjson" || ending == ".json") return "jsonl";
  if (ending == ".csv") return "csv";
  if (ending == ".tsv" || ending == ".tab") return "tsv";
  if (trim(text).starts_with('{')) return "jsonl";
  if (!options.labels_required) return "lines";
  fail(ErrorKind::invalid_argument, where, "expected a file that ends in .jsonl, .csv or .tsv", "name its format with --format");
}

std::string_view without_mark(std::string_view text, std::string_view where) {
  if (text.starts_with("\xEF\xBB\xBF")) return text.substr(3);
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) {
    fail(ErrorKind::file_format, where, "expected UTF-8, got UTF-16", "convert it: iconv -f utf-16 -t utf-8 FILE > NEW");
  }
  return text;
}

void check_utf8(std::string_view text, std::string_view where) {
  Problems problems(ErrorKind::file_format, std::string(where));
  for (const auto line : invalid_utf8_lines(text)) problems.add(fmt::format("line {}: not UTF-8", line));
  problems.raise_if_any("convert it, if it is Latin-1 as often: iconv -f latin1 -t utf-8 FILE > NEW");
}

/// Calls take(line number, line) for every line that is not blank; returns how many were.
template <class Take>
int64_t for_each_line(std::string_view text, const Take& take) {
  int64_t blank = 0;
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (trim(line).empty()) {
      ++blank;
    } else {
      take(number, line);
    }
  }
  return blank;
}

RawTable read_lines(std::string_view text) {
  RawTable raw{{"text"}, {}, 0};
  raw.blank_lines = for_each_line(text, [&](int64_t number, std::string_view line) {
    raw.records.push_back({number, {Json(std::string(line))}});
  });
  return raw;
}

std::string short_json_problem(const std::string& problem) {
  const size_t start = problem.find("syntax error");
  return start == std::string::npos ? problem : problem.substr(start);
}

RawTable read_jsonl(std::string_view text, std::string_view where) {
  check(!trim(text).starts_with('['), ErrorKind::file_format, where,
        "expected one JSON object a line, got one array (jq -c '.[]' FILE > NEW converts it)");
  RawTable raw;
  std::unordered_map<std::string, size_t> column_of;
  Problems problems(ErrorKind::file_format, std::string(where));
  const auto take = [&](int64_t number, std::string_view line) {
    try {
      const Json object = parse_json(line, where);
      if (!object.is_object()) return problems.add(fmt::format("line {}: expected a JSON object, got {}", number, object.type_name()));
      std::vector<Json> cells(raw.names.size());
      for (const auto& [name, value] : object.items()) {
        const auto [found, is_new] = column_of.try_emplace(name, raw.names.size());
        if (is_new) raw.names.push_back(name);
        cells.resize(raw.names.size());
        cells[found->second] = value;
      }
      raw.records.emplace_back(number, std::move(cells));
    } catch (const Error& error) {
      problems.add(fmt::format("line {}: {}", number, short_json_problem(error.problem())));
    }
  };
  raw.blank_lines = for_each_line(text, take);
  problems.raise_if_any("each line must be one JSON object, such as {\"text\": \"…\", \"label\": \"…\"}");
  for (auto& [line, cells] : raw.records) cells.resize(raw.names.size());
  return raw;
}

/// ',' unless the first line has none and has ';', as spreadsheets write where the comma is the decimal point.
char detect_separator(std::string_view text) {
  const std::string_view header = text.substr(0, text.find_first_of("\r\n"));
  return header.find(',') == std::string_view::npos && header.find(';') != std::string_view::npos ? ';' : ',';
}

RawTable from_fields(CsvTable table, std::string_view where) {
  RawTable raw;
  raw.blank_lines = table.blank_lines;
  if (table.records.empty()) return raw;
  raw.names = std::move(table.records.front().fields);
  for (auto& name : raw.names) name = trim(name);
  Problems problems(ErrorKind::file_format, std::string(where));
  for (auto record = table.records.begin() + 1; record != table.records.end(); ++record) {
    if (record->fields.size() != raw.names.size()) {
      problems.add(fmt::format("line {}: expected {} fields, got {}", record->line, raw.names.size(), record->fields.size()));
      continue;
    }
    raw.records.emplace_back(record->line, std::vector<Json>(record->fields.begin(), record->fields.end()));
  }
  problems.raise_if_any("quote a field that holds the separator or a line break");
  return raw;
}

RawTable read_raw(std::string_view text, const std::string& format, std::string_view where) {
  if (format == "jsonl") return read_jsonl(text, where);
  if (format == "csv") return from_fields(parse_csv(text, detect_separator(text), where), where);
  if (format == "tsv") return from_fields(parse_tsv(text), where);
  if (format == "lines") return read_lines(text);
  fail(ErrorKind::invalid_argument, where, fmt::format("expected format auto, jsonl, csv, tsv or lines, got '{}'", format));
}

/// Turns raw records into rows, one problem for each cell that cannot be read.
class RowReader {
 public:
  RowReader(const RawTable& raw, const Columns& columns, const TableOptions& options, std::string_view where)
      : columns_(columns),
        options_(options),
        problems_(ErrorKind::file_format, std::string(where)),
        text_(index(raw, columns.text)),
        pair_(index(raw, columns.text_pair)),
        label_(index(raw, columns.label)) {}

  Row read(int64_t line, const std::vector<Json>& cells) {
    Row row;
    row.line = line;
    row.text = text_of(cells[text_], line, columns_.text);
    if (!columns_.text_pair.empty()) row.text_pair = text_of(cells[pair_], line, columns_.text_pair);
    if (!columns_.label.empty()) row.labels = labels_of(cells[label_], line);
    return row;
  }
  void raise_if_any() const { problems_.raise_if_any("mend or remove these lines"); }

 private:
  static size_t index(const RawTable& raw, const std::string& name) {
    return static_cast<size_t>(std::find(raw.names.begin(), raw.names.end(), name) - raw.names.begin());
  }

  std::string text_of(const Json& cell, int64_t line, const std::string& column) {
    if (cell.is_string() && !trim(cell.get_ref<const std::string&>()).empty()) return cell.get<std::string>();
    const bool empty = cell.is_null() || cell.is_string();
    problems_.add(empty ? fmt::format("line {}: no text in column '{}'", line, column)
                        : fmt::format("line {}: expected text in column '{}', got {}", line, column, cell.dump()));
    return {};
  }

  std::vector<std::string> labels_of(const Json& cell, int64_t line) {
    std::vector<std::string> labels;
    if (cell.is_array()) {
      for (const auto& item : cell) add_label(labels, item, line);
      return labels;
    }
    if (cell.is_string() && !options_.label_separator.empty()) {
      for (const auto& part : split(cell.get_ref<const std::string&>())) add_label(labels, part, line);
    } else {
      add_label(labels, cell, line);
    }
    return labels;
  }

  std::vector<Json> split(std::string_view cell) const {
    std::vector<Json> parts;
    for (size_t start = 0; start <= cell.size();) {
      const size_t end = std::min(cell.find(options_.label_separator, start), cell.size());
      parts.emplace_back(std::string(cell.substr(start, end - start)));
      start = end + options_.label_separator.size();
    }
    return parts;
  }

  void add_label(std::vector<std::string>& labels, const Json& cell, int64_t line) {
    std::string label;
    if (cell.is_string()) label = trim(cell.get_ref<const std::string&>());
    if (cell.is_number() || cell.is_boolean()) label = cell.dump();
    if (cell.is_structured()) return problems_.add(fmt::format("line {}: expected a label, got {}", line, cell.dump()));
    if (label.empty()) {
      if (options_.labels_required) problems_.add(fmt::format("line {}: no label in column '{}'", line, columns_.label));
      return;
    }
    if (std::find(labels.begin(), labels.end(), label) != labels.end()) {
      return problems_.add(fmt::format("line {}: label '{}' is given twice", line, label));
    }
    labels.push_back(std::move(label));
  }

  const Columns& columns_;
  const TableOptions& options_;
  Problems problems_;
  size_t text_, pair_, label_;
};

}  // namespace

Table parse_table(std::string_view text, std::string_view where, const TableOptions& options) {
  text = without_mark(text, where);
  check_utf8(text, where);
  Table table;
  table.format = detect_format(text, where, options);
  RawTable raw = read_raw(text, table.format, where);
  check(!raw.records.empty(), ErrorKind::file_format, where, "expected rows of text, got none");
  table.blank_lines = raw.blank_lines;
  table.columns = detect_columns(raw.names, options, where);
  RowReader reader(raw, table.columns, options, where);
  const auto label = std::find(raw.names.begin(), raw.names.end(), table.columns.label) - raw.names.begin();
  for (auto& [line, cells] : raw.records) {
    table.has_label_lists |= !table.columns.label.empty() && cells[static_cast<size_t>(label)].is_array();
    table.rows.push_back(reader.read(line, cells));
    std::vector<Json>().swap(cells);  // a large file need not lie in memory twice
  }
  reader.raise_if_any();
  return table;
}

Table read_table(const std::filesystem::path& path, const TableOptions& options) {
  return parse_table(read_file(path), path.string(), options);
}

}  // namespace lowrank::data
