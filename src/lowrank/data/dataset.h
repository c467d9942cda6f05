// Rows of text made into token ids, or pictures with their labels, in train, validation and test parts, with the report that
// belongs to them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "lowrank/base/progress.h"
#include "lowrank/data/labels.h"
#include "lowrank/data/options.h"
#include "lowrank/data/report.h"
#include "lowrank/data/task.h"

namespace lowrank::text {
class Tokenizer;
}

namespace lowrank::data {

class PictureRows;

struct Example {
  std::vector<int32_t> ids, type_ids;  // one sequence; text and pair joined by the tokenizer where there is a pair
  std::vector<int32_t> pair_ids;       // embedding only: the second text, a sequence of its own
  std::vector<int64_t> labels;         // class numbers: one (single_label), any (multi_label), none otherwise
  float value = 0;                     // regression: the label; embedding: the wanted similarity
  int64_t id = 0;                      // stable: the row's place in the files, train first; the item of every random stream
  int64_t picture_tokens = 0;          // of a picture: what the model makes of it; its pixels are in Dataset::pictures

  int64_t length() const { return static_cast<int64_t>(ids.size() + pair_ids.size()) + picture_tokens; }
};

struct Dataset {
  std::vector<Example> examples;
  Task task = Task::single_label;
  int64_t classes = 0;                          // C; 0 for regression and embedding
  std::shared_ptr<const PictureRows> pictures;  // of examples that are pictures, in their order; null for texts
  AugmentOptions augment;                       // how training shows them

  int64_t size() const { return static_cast<int64_t>(examples.size()); }
  int64_t tokens() const;
  int64_t longest() const;  // of one sequence
};

struct Split {
  Dataset train, validation, test;  // validation and test may be empty
  LabelSet labels;                  // of the training rows; empty for regression and embedding
  DataReport report;                // report.hash names the data
};

/// Reads, splits, checks and tokenizes. Sets the tokenizer's max_length to options.max_length.
/// Throws what locate_files, read_table, split_rows and check_labels throw, and Error{invalid_argument} when a text is
/// in two parts and options.leakage is "error".
Split prepare(const DataOptions& options, text::Tokenizer& tokenizer, const ProgressSink& progress = {});

/// One file for a model that already has its labels: rows are kept in order, as the test part.
struct Evaluation {
  Dataset dataset;
  DataReport report;
};
Evaluation prepare_evaluation(const std::filesystem::path& file, const DataOptions& options, Task task, const LabelSet& labels,
                              text::Tokenizer& tokenizer, const ProgressSink& progress = {});

}  // namespace lowrank::data
