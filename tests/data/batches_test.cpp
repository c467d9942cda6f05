#include "lowrank/data/batches.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "support/expect_error.h"

namespace lowrank::data {
namespace {

using testing::ElementsAre;

/// Rows of lengths 1, 2, …, n; row i holds the token i, has id 100 + i and class i % 3.
Dataset staircase(int n) {
  Dataset data;
  data.classes = 3;
  for (int i = 0; i < n; ++i) {
    Example example;
    example.ids.assign(static_cast<size_t>(i + 1), i);
    example.type_ids.assign(static_cast<size_t>(i + 1), 0);
    example.labels = {i % 3};
    example.id = 100 + i;
    data.examples.push_back(example);
  }
  return data;
}

TEST(Collate, PacksSequencesBehindOneAnother) {
  const Dataset data = staircase(4);
  const Batch batch = collate(data, std::vector<int64_t>{2, 0, 1});
  EXPECT_THAT(batch.ids, ElementsAre(2, 2, 2, 0, 1, 1));
  EXPECT_THAT(batch.positions, ElementsAre(0, 1, 2, 0, 0, 1));
  EXPECT_THAT(batch.type_ids, ElementsAre(0, 0, 0, 0, 0, 0));
  EXPECT_THAT(batch.offsets, ElementsAre(0, 3, 4, 6));
  EXPECT_THAT(batch.labels, ElementsAre(2, 0, 1));
  EXPECT_THAT(batch.samples, ElementsAre(102, 100, 101));
  EXPECT_EQ(batch.longest, 3);
  EXPECT_TRUE(batch.targets.empty());
}

TEST(Collate, MultiLabelTargetsAreRowsOfZeroAndOne) {
  Dataset data = staircase(2);
  data.task = Task::multi_label;
  data.examples[0].labels = {0, 2};
  data.examples[1].labels = {};
  EXPECT_THAT(collate(data, std::vector<int64_t>{0, 1}).targets, ElementsAre(1, 0, 1, 0, 0, 0));
}

TEST(Collate, EmbeddingPairsAreTwoSequencesInTurn) {
  Dataset data = staircase(2);
  data.task = Task::embedding;
  data.examples[0].pair_ids = {7, 8};
  data.examples[0].value = 0.25F;
  data.examples[1].pair_ids = {9};
  data.examples[1].value = 1;
  const Batch batch = collate(data, std::vector<int64_t>{0, 1});
  EXPECT_THAT(batch.ids, ElementsAre(0, 7, 8, 1, 1, 9));
  EXPECT_THAT(batch.offsets, ElementsAre(0, 1, 3, 5, 6));
  EXPECT_THAT(batch.positions, ElementsAre(0, 0, 1, 0, 1, 0));
  EXPECT_THAT(batch.targets, ElementsAre(0.25F, 1));
  EXPECT_EQ(batch.size(), 2);
  EXPECT_EQ(batch.sequences(), 4);
}

std::vector<int64_t> samples_of_epoch(const Batcher& batcher, int64_t epoch) {
  std::vector<int64_t> samples;
  for (int64_t i = 0; i < batcher.batches_per_epoch(); ++i) {
    const auto batch = batcher.batch(epoch, i);
    samples.insert(samples.end(), batch.samples.begin(), batch.samples.end());
  }
  return samples;
}

TEST(Batcher, AnEpochHoldsEveryRowOnceAndTheLastBatchIsPartial) {
  const Dataset data = staircase(10);
  const Batcher batcher(data, {.batch_size = 4, .seed = 1});
  EXPECT_EQ(batcher.batches_per_epoch(), 3);
  EXPECT_EQ(batcher.batch(0, 2).size(), 2);
  const auto samples = samples_of_epoch(batcher, 0);
  EXPECT_EQ(std::set<int64_t>(samples.begin(), samples.end()).size(), 10U);
}

TEST(Batcher, OrderIsAFunctionOfSeedAndEpochNotOfHistoryOrBatchSize) {
  const Dataset data = staircase(50);
  const Batcher first(data, {.batch_size = 8, .seed = 1});
  const auto epoch3 = samples_of_epoch(first, 3);
  EXPECT_EQ(epoch3, samples_of_epoch(Batcher(data, {.batch_size = 4, .seed = 1}), 3));
  EXPECT_NE(epoch3, samples_of_epoch(first, 4));
  EXPECT_EQ(epoch3, samples_of_epoch(first, 3));
  EXPECT_NE(epoch3, samples_of_epoch(Batcher(data, {.batch_size = 8, .seed = 2}), 3));
}

TEST(Batcher, WithoutShuffleRowsKeepTheirOrder) {
  const Dataset data = staircase(5);
  EXPECT_THAT(samples_of_epoch(Batcher(data, {.batch_size = 2, .shuffle = false}), 9), ElementsAre(100, 101, 102, 103, 104));
}

TEST(Batcher, BucketsGatherSimilarLengthsAndLoseNothing) {
  const Dataset data = staircase(203);
  const Batcher batcher(data, {.batch_size = 4, .seed = 1, .bucket_by_length = true});
  auto samples = samples_of_epoch(batcher, 0);
  for (int64_t i = 0; i + 1 < batcher.batches_per_epoch(); ++i) {
    const auto batch = batcher.batch(0, i);
    const auto [low, high] = std::minmax_element(batch.samples.begin(), batch.samples.end());
    EXPECT_LE(*high - *low, 16) << "lengths of one batch lie close together";
  }
  EXPECT_FALSE(std::is_sorted(samples.begin(), samples.end()));
  std::sort(samples.begin(), samples.end());
  EXPECT_EQ(std::unique(samples.begin(), samples.end()) - samples.begin(), 203);
}

TEST(Batcher, RefusesEmptyDataAndBadSizes) {
  const Dataset empty, some = staircase(3);
  EXPECT_LOWRANK_ERROR(Batcher(empty, {}), ErrorKind::invalid_argument, "at least one training row");
  EXPECT_LOWRANK_ERROR(Batcher(some, {.batch_size = 0}), ErrorKind::invalid_argument, "batch size of at least 1");
  EXPECT_LOWRANK_ERROR(Batcher(some, {.batch_size = 2}).batch(0, 2), ErrorKind::invalid_argument, "expected batch 0 to 1, got 2");
}

TEST(EvaluationBatches, FillATokenBudgetLongestFirst) {
  const Dataset data = staircase(5);
  EXPECT_THAT(evaluation_batches(data, 6), ElementsAre(ElementsAre(4), ElementsAre(3), ElementsAre(2, 1, 0)));
  EXPECT_THAT(evaluation_batches(data, 1).size(), 5U);
  EXPECT_TRUE(evaluation_batches({}, 10).empty());
}

}  // namespace
}  // namespace lowrank::data
