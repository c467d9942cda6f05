#include "lowrank/data/checks.h"

#include "support/expect_error.h"

namespace lowrank::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Collection collection(const std::vector<std::tuple<Part, std::string, std::string>>& rows) {
  Collection all;
  for (const auto& [part, text, label] : rows) {
    Row row{text, "", {label}, static_cast<int64_t>(all.rows.size()) + 1};
    all.places.push_back("f:" + std::to_string(row.line));
    all.keys.push_back(duplicate_key(row));
    all.parts.push_back(part);
    all.rows.push_back(std::move(row));
  }
  return all;
}

TEST(FindRepeats, TellsDuplicatesConflictsAndLeaksApart) {
  const auto rows = collection({{Part::train, "Same", "x"},
                                {Part::train, "same ", "x"},
                                {Part::train, "both", "x"},
                                {Part::train, "both", "y"},
                                {Part::train, "seen", "x"},
                                {Part::test, "SEEN", "x"},
                                {Part::test, "alone", "y"}});
  DataReport report;
  find_repeats(rows, report);
  EXPECT_EQ(report.duplicate_rows, 2);
  EXPECT_EQ(report.conflicting_texts, 1);
  EXPECT_EQ(report.leaked_texts, 1);
  ASSERT_EQ(report.conflicts.size(), 1U);
  EXPECT_THAT(report.conflicts[0].labels, ElementsAre("x", "y"));
  EXPECT_THAT(report.leaks[0].places, ElementsAre("f:5", "f:6"));
}

TEST(LeakedRows, AreThoseOfTheEarlierPart) {
  const auto rows = collection({{Part::train, "a", "x"},
                                {Part::validation, "A", "x"},
                                {Part::test, "a", "x"},
                                {Part::test, "a", "x"},
                                {Part::train, "b", "x"},
                                {Part::validation, "b", "x"},
                                {Part::train, "c", "x"},
                                {Part::train, "c", "x"}});
  EXPECT_THAT(leaked_rows(rows), ElementsAre(true, true, false, false, true, false, false, false));
}

TEST(CheckLabels, OneClassIsRefused) {
  const auto rows = collection({{Part::train, "a", "x"}, {Part::train, "b", "x"}});
  EXPECT_LOWRANK_ERROR(check_labels(rows, Task::single_label, LabelSet{{"x"}}), ErrorKind::invalid_argument,
                       "expected at least two different labels in the training rows, got 1: 'x'");
}

TEST(CheckLabels, UnknownLabelsAreNamedWithTheirLines) {
  const auto rows =
      collection({{Part::train, "a", "spam"}, {Part::train, "b", "ham"}, {Part::test, "c", "spma"}, {Part::test, "d", "eggs"}});
  const LabelSet labels{{"ham", "spam"}};
  EXPECT_LOWRANK_ERROR(check_labels(rows, Task::single_label, labels), ErrorKind::file_format,
                       "f:3: label 'spma' is not among the training labels, did you mean 'spam'?");
  EXPECT_LOWRANK_ERROR(check_labels(rows, Task::single_label, labels), ErrorKind::file_format, "f:4: label 'eggs'");
}

TEST(CheckLabels, ValuesMustBeNumbers) {
  const auto rows = collection({{Part::train, "a", "1.5"}, {Part::train, "b", "many"}});
  EXPECT_LOWRANK_ERROR(check_labels(rows, Task::regression, {}), ErrorKind::file_format, "f:2: expected a number as label, got 'many'");
}

TEST(HashRows, SeesEveryPartOfARow) {
  const auto base = hash_rows(collection({{Part::train, "ab", "c"}}));
  EXPECT_EQ(base, hash_rows(collection({{Part::train, "ab", "c"}})));
  EXPECT_NE(base, hash_rows(collection({{Part::test, "ab", "c"}})));
  EXPECT_NE(base, hash_rows(collection({{Part::train, "a", "bc"}})));
  EXPECT_NE(base, hash_rows(collection({{Part::train, "ab", "d"}})));
}

}  // namespace
}  // namespace lowrank::data
