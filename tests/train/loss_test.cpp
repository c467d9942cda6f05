#include "lowrank/train/loss.h"

#include <gtest/gtest.h>
#include <numeric>
#include <torch/torch.h>

#include "support/expect_error.h"

#include "lowrank/base/json.h"

namespace lowrank::train {
namespace {

using data::Task;

struct Case {
  data::Dataset dataset;
  at::Tensor outputs;
  double mean = 0;
};

at::Tensor matrix_of(const Json& rows) {
  std::vector<at::Tensor> parts;
  for (const Json& row : rows) parts.push_back(torch::tensor(row.get<std::vector<float>>()));
  return at::stack(parts);
}

Case golden_case(const std::string& name) {
  const Json golden = read_json(std::filesystem::path(LOWRANK_SOURCE_DIR) / "tests/golden/train/training.json").at("losses");
  Case result{.mean = golden.at("mean").at(name)};
  const bool vectors = name == "embedding" || name == "ranking";
  result.outputs = matrix_of(golden.at(vectors ? "vectors" : "logits"));
  if (name == "regression") result.outputs = result.outputs.slice(1, 0, 1).contiguous();
  result.dataset.task = name == "ranking" ? Task::embedding : data::parse_task(name);
  result.dataset.classes = vectors || name == "regression" ? 0 : 4;
  for (size_t i = 0; i < 5; ++i) {
    data::Example example{.ids = {1, 2}, .type_ids = {0, 0}, .id = static_cast<int64_t>(i)};
    if (vectors) example.pair_ids = {3};
    if (name == "single_label") example.labels = {golden.at("classes")[i]};
    for (int64_t k = 0; name == "multi_label" && k < 4; ++k) {
      if (golden.at("many")[i][static_cast<size_t>(k)] == 1.0) example.labels.push_back(k);
    }
    example.value = name == "ranking" ? 1.0F : golden.at("values")[i].get<float>();
    result.dataset.examples.push_back(std::move(example));
  }
  return result;
}

TEST(LabelSmoothingTest, SpreadsAShareOverAllLabels) {
  const Case c = golden_case("single_label");
  const data::Batch batch = data::collate(c.dataset, std::vector<int64_t>{0, 1, 2, 3, 4});
  const at::Tensor p = c.outputs.log_softmax(1);
  const double right = c.mean, all = -p.mean().item<double>();
  EXPECT_NEAR(Objective(c.dataset, 0.3).sum(c.outputs, batch).item<double>() / 5, 0.7 * right + 0.3 * all, 2e-6);
  const Case other = golden_case("multi_label");
  EXPECT_LOWRANK_ERROR(Objective(other.dataset, 0.1), ErrorKind::invalid_argument, "expected 0 for a task of multi_label");
}

TEST(MixedPicturesTest, CountForBothLabelsByTheirShares) {
  const Case c = golden_case("single_label");
  const Objective objective(c.dataset);
  data::Batch batch = data::collate(c.dataset, std::vector<int64_t>{0, 1});
  const at::Tensor z = c.outputs.slice(0, 0, 2), p = -z.log_softmax(1);
  batch.mixed_labels = {3, 0};
  batch.mixed_shares = {0.25F, 0.0F};
  const auto term = [&](int64_t row, int64_t label) { return p[row][label].item<double>(); };
  EXPECT_NEAR(objective.sum(z, batch).item<double>(), 0.75 * term(0, batch.labels[0]) + 0.25 * term(0, 3) + term(1, batch.labels[1]), 2e-6);
}

class LossTest : public testing::TestWithParam<std::string> {};

TEST_P(LossTest, MeanEqualsTorch) {
  const Case c = golden_case(GetParam());
  const Objective objective(c.dataset);
  EXPECT_EQ(objective.is_ranking(), GetParam() == "ranking");
  const data::Batch batch = data::collate(c.dataset, std::vector<int64_t>{0, 1, 2, 3, 4});
  EXPECT_NEAR(objective.sum(c.outputs, batch).item<double>() / objective.weight(batch.size()), c.mean, 2e-6);
}

TEST_P(LossTest, SumsOverPartsOfABatchAddUp) {
  if (GetParam() == "ranking") GTEST_SKIP() << "each row needs the others";
  const Case c = golden_case(GetParam());
  const Objective objective(c.dataset);
  const int64_t rows_per_example = GetParam() == "embedding" ? 2 : 1;
  double sum = 0, weight = 0;
  for (const auto& part : std::vector<std::vector<int64_t>>{{0, 1}, {2}, {3, 4}}) {
    const data::Batch batch = data::collate(c.dataset, part);
    const at::Tensor outputs = c.outputs.slice(0, part.front() * rows_per_example, (part.back() + 1) * rows_per_example);
    sum += objective.sum(outputs, batch).item<double>();
    weight += objective.weight(batch.size());
  }
  EXPECT_NEAR(sum / weight, c.mean, 2e-6);
}

INSTANTIATE_TEST_SUITE_P(Tasks, LossTest, testing::Values("single_label", "multi_label", "regression", "embedding", "ranking"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace lowrank::train
