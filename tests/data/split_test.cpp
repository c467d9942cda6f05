#include "lowrank/data/split.h"

#include <algorithm>
#include <map>

#include "support/expect_error.h"

#include "lowrank/base/random.h"
#include "lowrank/data/normalize.h"

namespace lowrank::data {
namespace {

struct Rows {
  std::vector<std::string> keys, strata;
};

Rows distinct_rows(const std::vector<std::pair<std::string, int>>& sizes) {
  Rows rows;
  for (const auto& [stratum, size] : sizes) {
    for (int i = 0; i < size; ++i) {
      rows.keys.push_back(stratum + std::to_string(i));
      rows.strata.push_back(stratum);
    }
  }
  return rows;
}

int count(const Rows& rows, const std::vector<Part>& parts, const std::string& stratum, Part part) {
  int n = 0;
  for (size_t i = 0; i < parts.size(); ++i) n += rows.strata[i] == stratum && parts[i] == part;
  return n;
}

TEST(Split, SharesAreExactInEveryStratum) {
  const Rows rows = distinct_rows({{"a", 100}, {"b", 40}, {"c", 10}});
  const auto parts = split_rows(rows.keys, rows.strata, {0.2, 0.1, 1});
  EXPECT_EQ(count(rows, parts, "a", Part::test), 10);
  EXPECT_EQ(count(rows, parts, "a", Part::validation), 20);
  EXPECT_EQ(count(rows, parts, "b", Part::test), 4);
  EXPECT_EQ(count(rows, parts, "b", Part::validation), 8);
  EXPECT_EQ(count(rows, parts, "c", Part::test), 1);
  EXPECT_EQ(count(rows, parts, "c", Part::validation), 2);
}

TEST(Split, RoundingCarriesOverBetweenSmallStrata) {
  std::vector<std::pair<std::string, int>> sizes;
  for (int i = 0; i < 50; ++i) sizes.emplace_back("s" + std::to_string(i), 4);
  const Rows rows = distinct_rows(sizes);
  const auto parts = split_rows(rows.keys, rows.strata, {0, 0.1, 1});
  EXPECT_EQ(std::count(parts.begin(), parts.end(), Part::test), 20);
}

TEST(Split, DependsOnTheSeedAlone) {
  const Rows rows = distinct_rows({{"a", 100}, {"b", 100}});
  EXPECT_EQ(split_rows(rows.keys, rows.strata, {0.1, 0.1, 7}), split_rows(rows.keys, rows.strata, {0.1, 0.1, 7}));
  EXPECT_NE(split_rows(rows.keys, rows.strata, {0.1, 0.1, 7}), split_rows(rows.keys, rows.strata, {0.1, 0.1, 8}));
}

TEST(Split, EqualTextsStayOnOneSideAndEveryStratumTrains) {
  RandomStream random(3, "test");
  Rows rows;
  for (int i = 0; i < 2000; ++i) {
    rows.keys.push_back(std::to_string(random.below(600)));
    rows.strata.push_back("s" + std::to_string(random.below(40) * random.below(40) / 40));
  }
  const auto parts = split_rows(rows.keys, rows.strata, {0.1, 0.2, 5});
  std::map<std::string, Part> side;
  std::map<std::string, bool> trains;  // of strata that own a group: that of the key's first row
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto [found, first] = side.emplace(rows.keys[i], parts[i]);
    EXPECT_EQ(found->second, parts[i]);
    if (first) trains[rows.strata[i]] |= parts[i] == Part::train;
  }
  for (const auto& [stratum, yes] : trains) EXPECT_TRUE(yes) << stratum;
  EXPECT_NEAR(static_cast<double>(std::count(parts.begin(), parts.end(), Part::test)), 400, 5);
  EXPECT_NEAR(static_cast<double>(std::count(parts.begin(), parts.end(), Part::validation)), 200, 5);
}

TEST(Split, AGroupTooLargeForItsShareTrains) {
  Rows rows = distinct_rows({{"a", 60}, {"b", 40}});
  for (size_t i = 0; i < 30; ++i) rows.keys[i] = "same";
  const auto parts = split_rows(rows.keys, rows.strata, {0.1, 0.1, 1});
  EXPECT_EQ(parts[0], Part::train);
  EXPECT_EQ(count(rows, parts, "a", Part::test), 6);
  EXPECT_EQ(count(rows, parts, "b", Part::test), 4);
  EXPECT_EQ(count(rows, parts, "b", Part::validation), 4);
}

TEST(Split, RefusesAnEmptyShare) {
  const Rows rows = distinct_rows({{"a", 2}, {"b", 2}});
  EXPECT_LOWRANK_ERROR(split_rows(rows.keys, rows.strata, {0.1, 0.1, 1}), ErrorKind::invalid_argument, "expected at least one test row");
  EXPECT_LOWRANK_ERROR(split_rows(rows.keys, rows.strata, {0.5, 0.5, 1}), ErrorKind::invalid_argument, "below 1");
}

TEST(Strata, AreTheRarestLabel) {
  const std::vector<Row> rows = {
      {"t", "", {"x"}, 1}, {"t", "", {"x", "y"}, 2}, {"t", "", {"x", "z"}, 3}, {"t", "", {"z"}, 4}, {"t", "", {}, 5}};
  EXPECT_THAT(strata_of(rows, Task::multi_label), testing::ElementsAre("x", "y", "z", "z", ""));
}

TEST(Strata, AreTenthsOfTheValuesForRegression) {
  std::vector<Row> rows;
  for (int i = 0; i < 40; ++i) rows.push_back({"t", "", {std::to_string(i * 7 % 40) + ".5"}, i});
  const auto strata = strata_of(rows, Task::regression);
  EXPECT_EQ(strata[0], "0");
  EXPECT_EQ(std::count(strata.begin(), strata.end(), "9"), 4);
}

TEST(Normalize, FoldsCaseWidthAndSpace) {
  EXPECT_EQ(normalize("  Foo\t\n BAR "), "foo bar");
  EXPECT_EQ(normalize("ＦＯＯ\u00A0ﬁ"), "foo fi");
  EXPECT_EQ(normalize("E\u0301"), normalize("\u00E9"));
  EXPECT_EQ(normalize("STRASSE"), normalize("straße"));
  EXPECT_EQ(normalize(""), "");
}

TEST(DuplicateKey, TellsPairsApart) {
  EXPECT_EQ(duplicate_key({"A b", "C", {}, 1}), duplicate_key({"a  B", "c", {}, 2}));
  EXPECT_NE(duplicate_key({"a b", "c", {}, 1}), duplicate_key({"a", "b c", {}, 2}));
}

}  // namespace
}  // namespace lowrank::data
