#include "lowrank/cli/texts.h"

#include <iostream>
#include <iterator>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/base/log.h"
#include "lowrank/data/encode.h"

namespace lowrank::cli {

namespace {

std::string read_standard_input() { return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()}; }

std::string format_of(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  return first != std::string::npos && text[first] == '{' ? "jsonl" : "lines";
}

}  // namespace

Texts read_texts(const std::string& path, const text::Tokenizer& tokenizer) {
  const bool from_input = path.empty() || path == "-";
  const std::string content = from_input ? read_standard_input() : read_file(path);
  data::TableOptions options;
  options.labels_required = false;
  // A file of another ending than .jsonl, .csv or .tsv is told by its content, as standard input is.
  const bool named = path.ends_with(".jsonl") || path.ends_with(".csv") || path.ends_with(".tsv");
  options.format = named ? "auto" : format_of(content);
  Texts texts;
  texts.rows = data::parse_table(content, from_input ? "standard input" : path, options).rows;
  texts.dataset.task = data::Task::regression;  // one sequence a row and no labels, whatever the head
  for (auto& encoded : data::encode_rows(texts.rows, texts.dataset.task, tokenizer, 0, {})) {
    texts.truncated += encoded.count.kept < encoded.count.full;
    texts.dataset.examples.push_back(std::move(encoded.example));
  }
  if (texts.truncated > 0) {
    log(LogLevel::warning, "texts",
        fmt::format("{} of {} texts are longer than {} tokens and were cut", texts.truncated, texts.rows.size(), tokenizer.max_length()));
  }
  return texts;
}

}  // namespace lowrank::cli
