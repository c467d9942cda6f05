#include "lowrank/evaluate/scores.h"

#include <ATen/ops/tensor.h>

#include "support/expect_error.h"

namespace lowrank::evaluate {
namespace {

data::Dataset labelled(data::Task task, const std::vector<std::vector<int64_t>>& labels, int64_t classes) {
  data::Dataset dataset;
  dataset.task = task;
  dataset.classes = classes;
  for (const auto& each : labels) {
    dataset.examples.emplace_back();
    dataset.examples.back().labels = each;
  }
  return dataset;
}

double named(const Scores& scores, const std::string& name) {
  for (const auto& [key, value] : scores.all) {
    if (key == name) return value;
  }
  ADD_FAILURE() << "no score named " << name;
  return 0;
}

TEST(Scores, SingleLabelAccuracyAndMacroF1) {
  // truth 0 0 1 2, predicted 0 1 1 2: F1 per label 2/3, 2/3, 1
  const auto dataset = labelled(data::Task::single_label, {{0}, {0}, {1}, {2}}, 3);
  const at::Tensor logits = at::tensor({9., 0., 0., 0., 9., 0., 0., 9., 0., 0., 0., 9.}).view({4, 3});
  const Scores scores = score(dataset, logits);
  EXPECT_EQ(scores.name, "accuracy");
  EXPECT_DOUBLE_EQ(scores.primary, 0.75);
  EXPECT_NEAR(named(scores, "macro_f1"), (2.0 / 3 + 2.0 / 3 + 1) / 3, 1e-12);
  EXPECT_THAT(scores.items, testing::ElementsAre(1, 0, 1, 1));
  const double right = std::log(1 + 2 * std::exp(-9.0));  // −log softmax of the largest of (9, 0, 0)
  EXPECT_NEAR(scores.loss, (3 * right + right + 9) / 4, 1e-5);
}

TEST(Scores, MultiLabelCountsEachLabel) {
  // truth {0,1}, {2}; predicted {0}, {1,2}: 2 hits, 1 wrong, 1 missed
  const auto dataset = labelled(data::Task::multi_label, {{0, 1}, {2}}, 3);
  const at::Tensor logits = at::tensor({1., -1., -1., -1., 1., 1.}).view({2, 3});
  const Scores scores = score(dataset, logits);
  EXPECT_DOUBLE_EQ(scores.primary, 4.0 / 6);
  EXPECT_DOUBLE_EQ(named(scores, "macro_f1"), (1.0 + 0.0 + 1.0) / 3);
  EXPECT_DOUBLE_EQ(named(scores, "exact_match"), 0.0);
}

TEST(Scores, CorrelationsWithTies) {
  EXPECT_DOUBLE_EQ(spearman({1, 2, 3, 4}, {10, 20, 30, 1000}), 1.0);
  EXPECT_NEAR(spearman({1, 2, 2, 4}, {1, 2, 3, 4}), 0.9486832980505138, 1e-12);  // scipy.stats.spearmanr
  EXPECT_NEAR(pearson({1, 2, 3}, {1, 2, 4}), 0.9819805060619657, 1e-12);         // scipy.stats.pearsonr
  EXPECT_DOUBLE_EQ(pearson({1, 1}, {1, 2}), 0.0);
}

TEST(Scores, RowsMustMatchTheData) {
  const auto dataset = labelled(data::Task::single_label, {{0}}, 2);
  EXPECT_LOWRANK_ERROR(score(dataset, at::zeros({2, 2})), ErrorKind::shape, "expected 1 rows");
}

}  // namespace
}  // namespace lowrank::evaluate
