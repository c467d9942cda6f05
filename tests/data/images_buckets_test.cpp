#include <algorithm>
#include <map>
#include <set>

#include "support/expect_error.h"

#include "lowrank/base/json.h"
#include "lowrank/data/images/bucket_batches.h"
#include "lowrank/data/images/buckets.h"

namespace lowrank::data {
namespace {

using testing::ElementsAre;

TEST(Buckets, SetsAndPlacementsAreKohyas) {
  const Json golden = read_json(std::filesystem::path(LOWRANK_SOURCE_DIR) / "tests/golden/data/buckets.json");
  int placed = 0, refused = 0;
  for (const auto& item : golden) {
    const BucketOptions options = {
        {item["resolution"][0], item["resolution"][1]}, item["min"], item["max"], item["step"], true, item["no_upscale"]};
    const Buckets buckets(options);
    std::vector<Size> want;
    for (const auto& size : item["buckets"]) want.push_back({size[0], size[1]});
    EXPECT_EQ(buckets.sizes(), want);
    for (const auto& test : item["cases"]) {
      const Size picture = {test[0], test[1]};
      SCOPED_TRACE(to_string(options.resolution) + " step " + std::to_string(options.step) + ": " + to_string(picture));
      if (test[2].is_null()) {
        EXPECT_LOWRANK_ERROR(buckets.place(picture, "a.png"), ErrorKind::invalid_argument, "a.png");
        ++refused;
        continue;
      }
      const auto& w = test[2];
      EXPECT_EQ(buckets.place(picture, "a.png"), (Placement{{w[0], w[1]}, {w[2], w[3]}, w[4], w[5]}));
      ++placed;
    }
  }
  EXPECT_GT(placed, 900);
  EXPECT_GT(refused, 0);
}

TEST(Buckets, WithoutBucketsEverythingIsCutToTheResolution) {
  const Buckets buckets({.resolution = {64, 48}, .enabled = false});
  EXPECT_THAT(buckets.sizes(), ElementsAre(Size{64, 48}));
  EXPECT_EQ(buckets.place({128, 128}, ""), (Placement{{64, 48}, {64, 64}, 0, 8}));
  EXPECT_DOUBLE_EQ(buckets.place({128, 128}, "").cropped(), 0.25);
  EXPECT_DOUBLE_EQ(buckets.place({32, 24}, "").scale({32, 24}), 2);
}

TEST(Buckets, RefusesSettingsThatMakeNone) {
  EXPECT_LOWRANK_ERROR(Buckets({.resolution = {0, 5}}), ErrorKind::invalid_argument, "at least 1");
  EXPECT_LOWRANK_ERROR(Buckets({.min_side = 512, .max_side = 256}), ErrorKind::invalid_argument, "min 512, max 256");
  EXPECT_LOWRANK_ERROR(Buckets({.resolution = {2048, 512}}), ErrorKind::invalid_argument, "resolution 2048x512");
  EXPECT_LOWRANK_ERROR(Buckets({.resolution = {32, 32}}), ErrorKind::invalid_argument, "at least one step of 64");
}

/// 7 wide pictures shown once, 4 tall ones shown three times.
BucketBatcher batcher(ImageBatchOptions options) {
  std::vector<Size> buckets(7, Size{64, 48});
  buckets.resize(11, Size{48, 64});
  std::vector<int64_t> repeats(7, 1);
  repeats.resize(11, 3);
  return {buckets, repeats, options};
}

TEST(BucketBatcher, ShowsEachPictureAsOftenAsItsRepeatsAndMixesNoSizes) {
  const auto batches = batcher({.batch_size = 4, .seed = 3});
  EXPECT_EQ(batches.draws_per_epoch(), 19);
  EXPECT_EQ(batches.batches_per_epoch(), 2 + 3);
  std::map<int64_t, std::set<int64_t>> seen;
  std::vector<size_t> sizes;
  for (int64_t i = 0; i < batches.batches_per_epoch(); ++i) {
    const ImageBatch batch = batches.batch(5, i);
    sizes.push_back(batch.draws.size());
    for (const Draw& draw : batch.draws) {
      EXPECT_EQ(batch.bucket, (draw.picture < 7 ? Size{64, 48} : Size{48, 64}));
      EXPECT_TRUE(seen[draw.picture].insert(draw.repeat).second);
    }
  }
  EXPECT_EQ(seen.size(), 11U);
  for (const auto& [picture, repeats] : seen) EXPECT_EQ(repeats.size(), picture < 7 ? 1U : 3U);
  EXPECT_THAT(sizes, testing::UnorderedElementsAre(4, 3, 4, 4, 4)) << "only a bucket's last batch is smaller";
}

std::vector<Draw> epoch_draws(const BucketBatcher& batches, int64_t epoch) {
  std::vector<Draw> draws;
  for (int64_t i = 0; i < batches.batches_per_epoch(); ++i) {
    const auto batch = batches.batch(epoch, i);
    draws.insert(draws.end(), batch.draws.begin(), batch.draws.end());
  }
  return draws;
}

TEST(BucketBatcher, OrderIsAFunctionOfSeedAndEpochNotOfHistory) {
  const auto batches = batcher({.batch_size = 2, .seed = 3});
  const auto third = epoch_draws(batches, 3);
  EXPECT_NE(third, epoch_draws(batches, 4));
  EXPECT_EQ(third, epoch_draws(batches, 3));
  EXPECT_EQ(third, epoch_draws(batcher({.batch_size = 2, .seed = 3}), 3));
  EXPECT_NE(third, epoch_draws(batcher({.batch_size = 2, .seed = 4}), 3));
  const auto plain = epoch_draws(batcher({.batch_size = 2, .shuffle = false}), 9);
  EXPECT_EQ(plain.front(), (Draw{7, 0}));
  EXPECT_EQ(plain.back(), (Draw{6, 0}));
}

TEST(BucketBatcher, RefusesWhatMakesNoBatch) {
  EXPECT_LOWRANK_ERROR(BucketBatcher({}, {}, {}), ErrorKind::invalid_argument, "at least one picture");
  EXPECT_LOWRANK_ERROR(batcher({.batch_size = 0}), ErrorKind::invalid_argument, "batch size of at least 1");
  EXPECT_LOWRANK_ERROR(batcher({.batch_size = 4}).batch(0, 5), ErrorKind::invalid_argument, "expected batch 0 to 4, got 5");
  const std::vector<Size> one = {{1, 1}};
  EXPECT_LOWRANK_ERROR(BucketBatcher(one, std::vector<int64_t>{0}, {}), ErrorKind::invalid_argument, "repeats of at least 1");
}

TEST(Draw, ItemsOfRandomStreamsAreDistinct) {
  EXPECT_NE((Draw{1, 0}.item()), (Draw{0, 1}.item()));
  EXPECT_NE((Draw{5, 2}.item()), (Draw{5, 3}.item()));
}

}  // namespace
}  // namespace lowrank::data
