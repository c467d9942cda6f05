// Comma- and tab-separated files, split into fields.
// Source: RFC 4180; where it is silent we agree with Python's csv module (goldens in tests/golden/data/csv.json).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lowrank::data {

struct CsvRecord {
  int64_t line = 0;  // 1-based line on which the record begins
  std::vector<std::string> fields;
};

struct CsvTable {
  std::vector<CsvRecord> records;
  int64_t blank_lines = 0;  // skipped, as Python's DictReader does
};

/// Fields may be quoted with '"', hold separators, doubled quotes and line breaks (LF, CRLF or CR) inside the quotes. A
/// quote inside an unquoted field is an ordinary character. Throws Error{file_format} naming the line of an
/// unterminated quote or of text after a closing quote.
CsvTable parse_csv(std::string_view text, char separator, std::string_view where);

/// Tab-separated: one record a line, always. A field is unquoted only when it begins and ends with '"' and every quote
/// between is doubled (as pandas writes it); any other quote is an ordinary character (as GLUE's files need it).
CsvTable parse_tsv(std::string_view text);

}  // namespace lowrank::data
