// Lines of text or JSONL given to predict and embed, from a file or standard input.
#pragma once

#include <string>
#include <vector>

#include "lowrank/data/dataset.h"
#include "lowrank/text/tokenizer.h"

namespace lowrank::cli {

struct Texts {
  std::vector<data::Row> rows;  // in input order; labels, where the input has them, are ignored
  data::Dataset dataset;        // the same, tokenized
  int64_t truncated = 0;
};

/// `path` "" or "-": standard input, JSONL when its first character is '{'. Error{file_format} for empty input.
Texts read_texts(const std::string& path, const text::Tokenizer& tokenizer);

}  // namespace lowrank::cli
