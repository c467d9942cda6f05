#include "lowrank/data/labels.h"

#include "support/expect_error.h"

namespace lowrank::data {
namespace {

using testing::ElementsAre;

std::vector<Row> rows_with(const std::vector<std::vector<std::string>>& labels) {
  std::vector<Row> rows;
  for (const auto& list : labels) rows.push_back({"t", "", list, 0});
  return rows;
}

TEST(LabelSet, SortsTextAsTextAndWholeNumbersByValue) {
  EXPECT_THAT(LabelSet::of(rows_with({{"b"}, {"B"}, {"a", "b"}})).names, ElementsAre("B", "a", "b"));
  EXPECT_THAT(LabelSet::of(rows_with({{"10"}, {"2"}, {"-1"}})).names, ElementsAre("-1", "2", "10"));
  EXPECT_THAT(LabelSet::of(rows_with({{"10"}, {"2"}, {"x"}})).names, ElementsAre("10", "2", "x"));
}

TEST(LabelSet, IndexIsTheHeadsOutput) {
  const LabelSet set{{"a", "b"}};
  EXPECT_EQ(set.index("b"), 1);
  EXPECT_EQ(set.index("c"), -1);
}

TEST(DetectTask, GoesByTheLabels) {
  EXPECT_EQ(detect_task(rows_with({{"a"}, {"b"}}), false, "t"), Task::single_label);
  EXPECT_EQ(detect_task(rows_with({{"1"}, {"2"}}), false, "t"), Task::single_label);
  EXPECT_EQ(detect_task(rows_with({{"1"}, {"2.5"}}), false, "t"), Task::regression);
  EXPECT_EQ(detect_task(rows_with({{"1e-3"}}), false, "t"), Task::regression);
  EXPECT_EQ(detect_task(rows_with({{"v1.2"}, {"1"}}), false, "t"), Task::single_label);
  EXPECT_EQ(detect_task(rows_with({{"a"}, {"a", "b"}}), false, "t"), Task::multi_label);
  EXPECT_EQ(detect_task(rows_with({{"a"}}), true, "t"), Task::multi_label);
  EXPECT_LOWRANK_ERROR(detect_task(rows_with({{}}), false, "t"), ErrorKind::invalid_argument, "cannot tell the task");
}

TEST(ParseTask, NamesTheChoices) {
  EXPECT_EQ(parse_task("regression"), Task::regression);
  EXPECT_LOWRANK_ERROR(parse_task("multilabel"), ErrorKind::invalid_argument, "did you mean 'multi_label'");
}

TEST(ParseValue, RefusesWhatIsNoFiniteNumber) {
  double value = 0;
  EXPECT_TRUE(parse_value("-1.5e2", value));
  EXPECT_DOUBLE_EQ(value, -150);
  EXPECT_FALSE(parse_value("nan", value));
  EXPECT_FALSE(parse_value("1,5", value));
  EXPECT_FALSE(parse_value("", value));
}

}  // namespace
}  // namespace lowrank::data
