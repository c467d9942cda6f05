#include "lowrank/data/csv.h"

#include "lowrank/base/error.h"

namespace lowrank::data {

namespace {

class CsvReader {
 public:
  CsvReader(std::string_view text, char separator, std::string_view where) : text_(text), where_(where), separator_(separator) {}

  CsvTable read() {
    CsvTable table;
    while (at_ < text_.size()) {
      if (at_line_end()) {
        ++table.blank_lines;
        skip_line_end();
      } else {
        table.records.push_back(read_record());
      }
    }
    return table;
  }

 private:
  bool at_line_end() const { return at_ == text_.size() || text_[at_] == '\n' || text_[at_] == '\r'; }

  void skip_line_end() {
    if (at_ == text_.size()) return;
    at_ += text_.substr(at_, 2) == "\r\n" ? 2 : 1;
    ++line_;
  }

  CsvRecord read_record() {
    CsvRecord record{line_, {}};
    while (true) {
      record.fields.push_back(at_ < text_.size() && text_[at_] == '"' ? read_quoted() : read_plain());
      if (at_line_end()) break;
      ++at_;  // the separator
    }
    skip_line_end();
    return record;
  }

  std::string read_plain() {
    const size_t start = at_;
    while (!at_line_end() && text_[at_] != separator_) ++at_;
    return std::string(text_.substr(start, at_ - start));
  }

  std::string read_quoted() {
    const int64_t opened = line_;
    std::string field;
    for (++at_; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c != '"') {
        line_ += c == '\n' || (c == '\r' && text_.substr(at_, 2) != "\r\n");
        field += c;
      } else if (text_.substr(at_, 2) == "\"\"") {
        field += text_[++at_];
      } else {
        ++at_;
        check(at_line_end() || text_[at_] == separator_, ErrorKind::file_format, where_,
              "line {}: expected '{}' or the end of the line after a closing quote, got '{}'", line_, separator_, text_.substr(at_, 1));
        return field;
      }
    }
    fail(ErrorKind::file_format, where_, fmt::format("line {}: the quote opened here is never closed", opened),
         "double the quotes inside quoted fields, or end the field with a quote");
  }

  std::string_view text_, where_;
  char separator_;
  size_t at_ = 0;
  int64_t line_ = 1;
};

std::string tsv_field(std::string_view raw) {
  if (raw.size() < 2 || raw.front() != '"' || raw.back() != '"') return std::string(raw);
  std::string field;
  const std::string_view inner = raw.substr(1, raw.size() - 2);
  for (size_t i = 0; i < inner.size(); ++i) {
    if (inner[i] == '"' && inner.substr(i, 2) != "\"\"") return std::string(raw);
    i += inner[i] == '"';
    field += inner[i];
  }
  return field;
}

}  // namespace

CsvTable parse_csv(std::string_view text, char separator, std::string_view where) { return CsvReader(text, separator, where).read(); }

CsvTable parse_tsv(std::string_view text) {
  CsvTable table;
  for (int64_t line = 1; !text.empty(); ++line) {
    const size_t end = text.find('\n');
    std::string_view row = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (row.ends_with('\r')) row.remove_suffix(1);
    if (row.empty()) {
      ++table.blank_lines;
      continue;
    }
    CsvRecord record{line, {}};
    for (size_t start = 0; start <= row.size();) {
      const size_t tab = std::min(row.find('\t', start), row.size());
      record.fields.push_back(tsv_field(row.substr(start, tab - start)));
      start = tab + 1;
    }
    table.records.push_back(std::move(record));
  }
  return table;
}

}  // namespace lowrank::data
