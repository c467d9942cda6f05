#include "lowrank/data/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lowrank::data {
namespace {

using testing::HasSubstr;

TEST(SummarizeLengths, CountsWhatIsCutAndTakesNearestRanks) {
  std::vector<TokenCount> counts;
  for (int64_t n = 1; n <= 20; ++n) counts.push_back({n, std::min<int64_t>(n, 18)});
  const auto stats = summarize_lengths(counts);
  EXPECT_EQ(stats.rows, 20);
  EXPECT_EQ(stats.min, 1);
  EXPECT_EQ(stats.median, 10);
  EXPECT_EQ(stats.p95, 19);
  EXPECT_EQ(stats.max, 20);
  EXPECT_DOUBLE_EQ(stats.mean, 10.5);
  EXPECT_EQ(stats.truncated_rows, 2);
  EXPECT_EQ(stats.cut_tokens, 3);
  EXPECT_EQ(stats.tokens, 207);
}

TEST(LengthHistogram, HoldsEveryRowInRoundBins) {
  std::vector<TokenCount> counts;
  for (int64_t n = 3; n <= 102; ++n) counts.push_back({n, n});
  counts.push_back({5000, 128});
  const auto bins = length_histogram(counts);
  EXPECT_EQ(bins.front().low, 0);
  EXPECT_EQ(bins[1].low, 20);
  EXPECT_EQ(bins[1].rows, 20);
  EXPECT_EQ(bins.back().high, 5000);
  EXPECT_EQ(bins.back().rows, 1);
  int64_t rows = 0;
  for (const auto& bin : bins) rows += bin.rows;
  EXPECT_EQ(rows, 101);
}

DataReport sample() {
  DataReport report;
  report.files = {{"train.csv", "csv", Part::train, 12, 1}};
  report.text_column = "text";
  report.label_column = "kind";
  report.unused_columns = {"id"};
  report.labels = {{"ham", {6, 2, 1}}, {"spam", {2, 1, 0}}};
  const std::vector<TokenCount> counts = {{5, 5}, {300, 128}};
  report.lengths[0] = summarize_lengths(counts);
  report.histogram = length_histogram(counts);
  report.truncated_rows = 1;
  report.truncated = {{"train.csv:7", 300, 172}};
  report.max_length = 128;
  report.conflicting_texts = 1;
  report.conflicts = {{"free money", 12, {"train.csv:2", "train.csv:9"}, {"ham", "spam"}}};
  report.warnings = {"1 labels have no test rows: spam"};
  report.hash = "ab12";
  return report;
}

TEST(DataReport, TextSaysEverythingCounted) {
  const std::string text = sample().to_text();
  EXPECT_THAT(text, HasSubstr("train.csv  12 rows, csv, 1 blank line skipped"));
  EXPECT_THAT(text, HasSubstr("unused: 'id'"));
  EXPECT_THAT(text, HasSubstr("1 row at 128 tokens, 172 tokens lost; longest train.csv:7 (300 tokens)"));
  EXPECT_THAT(text, HasSubstr("\"free money\" (ham, spam) at train.csv:2, train.csv:9, … 10 more"));
  EXPECT_THAT(text, HasSubstr("no test rows: spam"));
  EXPECT_THAT(text, HasSubstr("ab12"));
  EXPECT_THAT(text, testing::Not(HasSubstr("\x1b")));
}

TEST(DataReport, JsonHoldsTheSameFigures) {
  const Json json = sample().to_json();
  EXPECT_EQ(json["truncated"]["rows"], 1);
  EXPECT_EQ(json["truncated"]["longest"][0]["place"], "train.csv:7");
  EXPECT_EQ(json["labels"][1]["train"], 2);
  EXPECT_EQ(json["lengths"]["train"]["max"], 300);
  EXPECT_EQ(json["conflicts"]["first"][0]["labels"].size(), 2U);
  EXPECT_EQ(json["hash"], "ab12");
}

}  // namespace
}  // namespace lowrank::data
