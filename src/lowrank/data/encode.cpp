#include "lowrank/data/encode.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <thread>

#include "lowrank/text/tokenizer.h"

namespace lowrank::data {

namespace {

constexpr size_t kBlock = 256;  // rows a thread takes at a time

TokenCount count_of(const text::Encoding& encoding) {
  return {static_cast<int64_t>(encoding.full_length), static_cast<int64_t>(encoding.ids.size())};
}

EncodedRow encode_row(const Row& row, Task task, const text::Tokenizer& tokenizer) {
  EncodedRow encoded;
  const bool joined = !row.text_pair.empty() && task != Task::embedding;
  auto first = joined ? tokenizer.encode(row.text, row.text_pair) : tokenizer.encode(row.text);
  encoded.count = count_of(first);
  encoded.example.ids.assign(first.ids.begin(), first.ids.end());
  encoded.example.type_ids.assign(first.type_ids.begin(), first.type_ids.end());
  if (task == Task::embedding && !row.text_pair.empty()) {
    const auto second = tokenizer.encode(row.text_pair);
    const TokenCount count = count_of(second);
    encoded.example.pair_ids.assign(second.ids.begin(), second.ids.end());
    encoded.count = {encoded.count.full + count.full, encoded.count.kept + count.kept};
  }
  return encoded;
}

}  // namespace

std::vector<EncodedRow> encode_rows(std::span<const Row> rows, Task task, const text::Tokenizer& tokenizer, int64_t threads,
                                    const ProgressSink& progress) {
  std::vector<EncodedRow> encoded(rows.size());
  std::atomic<size_t> next = 0;
  const auto report = [&](size_t done) {
    if (progress) progress({"tokenize", static_cast<int64_t>(done), static_cast<int64_t>(rows.size()), "rows", {}});
  };
  const auto work = [&](bool reports) {
    for (size_t begin = next.fetch_add(kBlock); begin < rows.size(); begin = next.fetch_add(kBlock)) {
      const size_t end = std::min(begin + kBlock, rows.size());
      for (size_t i = begin; i < end; ++i) encoded[i] = encode_row(rows[i], task, tokenizer);
      if (reports) report(end);
    }
  };
  const size_t blocks = (rows.size() + kBlock - 1) / kBlock;
  const size_t wanted = threads > 0 ? static_cast<size_t>(threads) : std::max(1U, std::thread::hardware_concurrency());
  std::vector<std::future<void>> helpers;  // their destructors wait, and get() hands on what they threw
  for (size_t i = 1; i < std::min(wanted, blocks); ++i) helpers.push_back(std::async(std::launch::async, work, false));
  work(true);
  for (auto& helper : helpers) helper.get();
  report(rows.size());
  return encoded;
}

}  // namespace lowrank::data
