#include <algorithm>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <set>
#include <vector>

#include "lowrank/data/images/captions.h"

namespace lowrank::data {
namespace {

std::string shown(const char* caption, const CaptionOptions& options, uint64_t draw = 0, int64_t epoch = 1) {
  return process_caption(caption, options, 7, epoch, draw);
}

TEST(Caption, IsLeftAloneByDefault) { EXPECT_EQ(shown("a cat,  on , a mat ", {}), "a cat,  on , a mat"); }

TEST(Caption, PrefixAndSuffixAreAddedWithASpace) {
  EXPECT_EQ(shown("a cat", {.prefix = "photo of", .suffix = "at night"}), "photo of a cat at night");
  EXPECT_EQ(shown("", {.prefix = "photo", .suffix = "night"}), "photo night");
  EXPECT_EQ(shown("a cat\na dog", {.suffix = "at night"}), "a cat at night") << "the suffix belongs to the line that is shown";
}

TEST(Caption, DropoutLeavesNothingNotEvenTheTrigger) {
  const CaptionOptions options = {.trigger = "sks", .prefix = "photo of", .dropout = 0.3};
  int dropped = 0;
  for (uint64_t draw = 0; draw < 2000; ++draw) dropped += shown("a cat", options, draw).empty();
  EXPECT_NEAR(dropped, 600, 75);
  EXPECT_EQ(shown("a cat", {.dropout = 1}), "");
}

TEST(Caption, DropoutEveryNthEpoch) {
  const CaptionOptions options = {.dropout_every_epochs = 3};
  std::vector<bool> has;
  for (int64_t epoch = 0; epoch < 7; ++epoch) has.push_back(!shown("a cat", options, 0, epoch).empty());
  EXPECT_THAT(has, testing::ElementsAre(false, true, true, false, true, true, false));
}

TEST(Caption, ShuffleKeepsTheFirstTokensInPlace) {
  const CaptionOptions options = {.keep_tokens = 2, .shuffle = true};
  std::set<std::string> seen;
  for (uint64_t draw = 0; draw < 200; ++draw) {
    const std::string text = shown("sks, cat,a,b ,  c", options, draw);
    EXPECT_EQ(text.substr(0, 10), "sks, cat, ");
    std::string letters = text.substr(10);
    seen.insert(letters);
    std::sort(letters.begin(), letters.end());
    EXPECT_EQ(letters, "  ,,abc");
  }
  EXPECT_EQ(seen.size(), 6U) << "every order of three occurs";
}

TEST(Caption, KeepSeparatorFixesBothEndsAndNeverStays) {
  const CaptionOptions options = {.keep_tokens = 1, .keep_separator = "|||", .shuffle = true};
  std::set<std::string> seen;
  for (uint64_t draw = 0; draw < 50; ++draw) seen.insert(shown("x, y ||| a, b ||| z", options, draw));
  EXPECT_THAT(seen, testing::ElementsAre("x, y, a, b, z", "x, y, b, a, z"));
  EXPECT_EQ(shown("x ||| a, b", {.keep_separator = "|||"}), "x, a, b") << "also without shuffling";
}

TEST(Caption, TagDropoutThinsOnlyTheFreeParts) {
  const CaptionOptions options = {.keep_tokens = 1, .tag_dropout = 0.25};
  int kept = 0;
  for (uint64_t draw = 0; draw < 1000; ++draw) {
    const std::string text = shown("x, a, b, c, d", options, draw);
    EXPECT_EQ(text[0], 'x');
    kept += static_cast<int>(std::count(text.begin(), text.end(), ','));
  }
  EXPECT_NEAR(kept, 3000, 120);
  EXPECT_EQ(shown("x, a, b", {.keep_tokens = 1, .tag_dropout = 1}), "x");
}

TEST(Caption, EmptyPartsStayAsInKohyas) { EXPECT_EQ(shown("a,,b", {.keep_tokens = 3, .shuffle = true}), "a, , b"); }

TEST(Caption, SecondarySeparatorHoldsPartsTogether) {
  const CaptionOptions options = {.shuffle = true, .secondary_separator = ";;;"};
  std::set<std::string> seen;
  for (uint64_t draw = 0; draw < 50; ++draw) seen.insert(shown("a;;;b, c", options, draw));
  EXPECT_THAT(seen, testing::ElementsAre("a,b, c", "c, a,b"));
}

TEST(Caption, TriggerFillsItsPlaceOrGoesInFrontUnlessThere) {
  EXPECT_EQ(shown("a photo of [trigger], red", {.trigger = "sks"}), "a photo of sks, red");
  EXPECT_EQ(shown("a dog", {.trigger = "sks"}), "sks, a dog");
  EXPECT_EQ(shown("a sks dog", {.trigger = "sks"}), "a sks dog");
  EXPECT_EQ(shown("", {.trigger = "sks"}), "sks");
  const CaptionOptions options = {.trigger = "sks", .shuffle = true, .tag_dropout = 1};
  EXPECT_EQ(shown("a, b", options), "sks");
}

TEST(Caption, OfSeveralLinesTheFirstOrARandomOne) {
  EXPECT_EQ(shown("\n a cat \n\n a dog\n", {}), "a cat");
  std::set<std::string> seen;
  for (uint64_t draw = 0; draw < 50; ++draw) seen.insert(shown("a cat\n\na dog\nan owl", {.lines = "random"}, draw));
  EXPECT_THAT(seen, testing::ElementsAre("a cat", "a dog", "an owl"));
}

TEST(Caption, DependsOnSeedEpochAndDrawAlone) {
  const CaptionOptions options = {.shuffle = true, .tag_dropout = 0.2};
  const char* caption = "a, b, c, d, e, f, g, h";
  const auto first = process_caption(caption, options, 1, 2, 3);
  EXPECT_EQ(first, process_caption(caption, options, 1, 2, 3));
  EXPECT_NE(first, process_caption(caption, options, 2, 2, 3));
  EXPECT_NE(first, process_caption(caption, options, 1, 3, 3));
  EXPECT_NE(first, process_caption(caption, options, 1, 2, 4));
}

TEST(Caption, PlainIsWhatIsFixed) {
  const CaptionOptions options = {.trigger = "sks",
                                  .prefix = "photo of",
                                  .dropout = 1,
                                  .dropout_every_epochs = 1,
                                  .lines = "random",
                                  .keep_separator = "|||",
                                  .shuffle = true,
                                  .tag_dropout = 1};
  EXPECT_EQ(plain_caption("a cat ||| red, big\nother", options), "sks, photo of a cat, red, big");
}

}  // namespace
}  // namespace lowrank::data
