// Tokenizing many rows on several threads.
#pragma once

#include <span>
#include <vector>

#include "lowrank/base/progress.h"
#include "lowrank/data/dataset.h"

namespace lowrank::data {

struct EncodedRow {
  Example example;  // labels and id are left to the caller
  TokenCount count;
};

/// In row order whatever the number of threads (0: one a processor). Progress is reported from the calling thread.
std::vector<EncodedRow> encode_rows(std::span<const Row> rows, Task task, const text::Tokenizer& tokenizer, int64_t threads,
                                    const ProgressSink& progress);

}  // namespace lowrank::data
