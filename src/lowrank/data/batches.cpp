#include "lowrank/data/batches.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "lowrank/base/error.h"
#include "lowrank/base/random.h"
#include "lowrank/data/images/picture_rows.h"

namespace lowrank::data {

namespace {

constexpr int64_t kBucketBatches = 50;  // batches whose examples are sorted together: similar lengths, yet a random mix

void append_sequence(Batch& batch, std::span<const int32_t> ids, std::span<const int32_t> type_ids) {
  batch.ids.insert(batch.ids.end(), ids.begin(), ids.end());
  batch.type_ids.insert(batch.type_ids.end(), type_ids.begin(), type_ids.end());
  batch.type_ids.resize(batch.ids.size());  // a tokenizer without type ids: all 0
  batch.positions.resize(batch.ids.size());
  std::iota(batch.positions.end() - static_cast<int64_t>(ids.size()), batch.positions.end(), 0);
  batch.offsets.push_back(static_cast<int32_t>(batch.ids.size()));
  batch.longest = std::max(batch.longest, static_cast<int32_t>(ids.size()));
}

void append_target(Batch& batch, const Example& example, const Dataset& dataset) {
  switch (dataset.task) {
    case Task::single_label: batch.labels.push_back(example.labels.front()); break;
    case Task::multi_label: {
      const size_t row = batch.targets.size();
      batch.targets.resize(row + static_cast<size_t>(dataset.classes));
      for (const int64_t label : example.labels) batch.targets[row + static_cast<size_t>(label)] = 1;
      break;
    }
    case Task::regression:
    case Task::embedding: batch.targets.push_back(example.value); break;
  }
}

void read_pictures(Batch& batch, const PictureRows& pictures, std::span<const int64_t> indices) {
  const auto each = static_cast<size_t>(pictures.bytes_each());
  batch.height = pictures.size().height;
  batch.width = pictures.size().width;
  batch.pixels.resize(indices.size() * each);
  for (size_t i = 0; i < indices.size(); ++i) pictures.read(indices[i], std::span(batch.pixels).subspan(i * each, each));
}

std::vector<int64_t> in_order(int64_t n) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

}  // namespace

Batch collate(const Dataset& dataset, std::span<const int64_t> indices) {
  Batch batch;
  int64_t tokens = 0;
  for (const int64_t index : indices) tokens += dataset.examples[static_cast<size_t>(index)].length();
  check(tokens <= std::numeric_limits<int32_t>::max(), ErrorKind::invalid_argument, "collate",
        "expected a batch of at most 2^31 - 1 tokens, got {}", tokens);
  batch.ids.reserve(static_cast<size_t>(tokens));
  for (const int64_t index : indices) {
    const Example& example = dataset.examples[static_cast<size_t>(index)];
    if (!dataset.pictures) append_sequence(batch, example.ids, example.type_ids);
    if (!example.pair_ids.empty()) append_sequence(batch, example.pair_ids, {});
    append_target(batch, example, dataset);
    batch.samples.push_back(example.id);
  }
  if (dataset.pictures) read_pictures(batch, *dataset.pictures, indices);
  return batch;
}

Batcher::Batcher(const Dataset& dataset, BatchOptions options) : dataset_(dataset), options_(options) {
  check(options.batch_size >= 1, ErrorKind::invalid_argument, "batches", "expected a batch size of at least 1, got {}", options.batch_size);
  check(dataset.size() > 0, ErrorKind::invalid_argument, "batches", "expected at least one training row, got none");
}

int64_t Batcher::batches_per_epoch() const { return (dataset_.size() + options_.batch_size - 1) / options_.batch_size; }

std::vector<int64_t> Batcher::order(int64_t epoch) const {
  auto order = options_.shuffle ? RandomStream(options_.seed, "data order", static_cast<uint64_t>(epoch)).permutation(dataset_.size())
                                : in_order(dataset_.size());
  return options_.bucket_by_length ? bucketed(std::move(order), epoch) : order;
}

std::vector<int64_t> Batcher::bucketed(std::vector<int64_t> order, int64_t epoch) const {
  const auto length = [this](int64_t index) { return dataset_.examples[static_cast<size_t>(index)].length(); };
  const int64_t window = options_.batch_size * kBucketBatches;
  for (int64_t start = 0; start < dataset_.size(); start += window) {
    const auto begin = order.begin() + start, end = order.begin() + std::min(start + window, dataset_.size());
    std::stable_sort(begin, end, [&](int64_t a, int64_t b) { return length(a) < length(b); });
  }
  if (!options_.shuffle) return order;
  std::vector<int64_t> mixed;
  const int64_t whole = dataset_.size() / options_.batch_size;  // the partial batch stays last
  const auto batches = RandomStream(options_.seed, "bucket order", static_cast<uint64_t>(epoch)).permutation(whole);
  for (const int64_t batch : batches) {
    const auto begin = order.begin() + batch * options_.batch_size;
    mixed.insert(mixed.end(), begin, begin + options_.batch_size);
  }
  mixed.insert(mixed.end(), order.begin() + whole * options_.batch_size, order.end());
  return mixed;
}

Batch Batcher::batch(int64_t epoch, int64_t index) const {
  check(index >= 0 && index < batches_per_epoch(), ErrorKind::invalid_argument, "batches", "expected batch 0 to {}, got {}",
        batches_per_epoch() - 1, index);
  if (cached_epoch_ != epoch) {
    cached_order_ = order(epoch);
    cached_epoch_ = epoch;
  }
  const int64_t begin = index * options_.batch_size;
  const int64_t size = std::min(options_.batch_size, dataset_.size() - begin);
  return collate(dataset_, std::span(cached_order_).subspan(static_cast<size_t>(begin), static_cast<size_t>(size)));
}

std::vector<std::vector<int64_t>> evaluation_batches(const Dataset& dataset, int64_t token_budget) {
  const auto length = [&](int64_t index) { return dataset.examples[static_cast<size_t>(index)].length(); };
  auto order = in_order(dataset.size());
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return length(a) > length(b); });
  std::vector<std::vector<int64_t>> batches;
  int64_t tokens = 0;
  for (const int64_t index : order) {
    if (batches.empty() || tokens + length(index) > token_budget) {
      batches.emplace_back();
      tokens = 0;
    }
    batches.back().push_back(index);
    tokens += length(index);
  }
  return batches;
}

}  // namespace lowrank::data
