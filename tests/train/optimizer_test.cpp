#include <gtest/gtest.h>

#include "lowrank/base/json.h"
#include "lowrank/tensor/load.h"
#include "lowrank/train/adamw.h"
#include "lowrank/train/schedule.h"

namespace lowrank::train {
namespace {

const std::filesystem::path kGolden = std::filesystem::path(LOWRANK_SOURCE_DIR) / "tests/golden/train";

double difference(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

TEST(AdamWTest, EqualsTorchOverEightSteps) {
  const tensor::TensorMap golden = tensor::load_tensors(kGolden / "adamw.safetensors");
  at::Tensor matrix = golden.at("matrix.start").clone(), vector = golden.at("vector.start").clone();
  FlatParameters parameters({{"vector", vector}, {"matrix", matrix}});
  AdamW optimizer(parameters, {.weight_decay = 0.1});
  for (int step = 0; step < 8; ++step) {
    // What backward does: accumulates in place.
    matrix.mutable_grad().add_(golden.at(fmt::format("matrix.grad.{}", step)));
    vector.mutable_grad().add_(golden.at(fmt::format("vector.grad.{}", step)));
    optimizer.step(1e-2 * (step + 1) / 8, clip_factor(length(parameters.gradients()), 0.5));
    EXPECT_LT(difference(matrix, golden.at(fmt::format("matrix.{}", step))), 1e-6) << step;
    EXPECT_LT(difference(vector, golden.at(fmt::format("vector.{}", step))), 1e-6) << step;
  }
  EXPECT_EQ(length(parameters.gradients()), 0.0);
  EXPECT_EQ(optimizer.steps(), 8);
}

TEST(FlatParametersTest, TensorsAreViewsAndBackwardAccumulatesInTheBuffer) {
  at::Tensor a = at::ones({3, 5}), b = at::full({7}, 2.0);
  FlatParameters parameters({{"b", b}, {"a", a}});
  EXPECT_EQ(parameters.count(), 22);
  EXPECT_EQ(parameters.decayed(), 16);  // the matrix, up to its cache line
  EXPECT_EQ(parameters.entries().front().name, "a");
  for (int pass = 0; pass < 2; ++pass) ((a * 3).sum() + (b * b).sum()).backward();
  EXPECT_EQ(a.grad().data_ptr(), parameters.gradients().data_ptr());
  EXPECT_EQ(parameters.entries()[0].gradient.sum().item<float>(), 2 * 3 * 15);
  EXPECT_EQ(parameters.entries()[1].gradient.sum().item<float>(), 2 * 2 * 2 * 7);
  const auto version = a._version();
  parameters.assign(at::zeros_like(parameters.values()));
  EXPECT_EQ(a.sum().item<float>(), 0);
  EXPECT_GT(a._version(), version);
}

TEST(FlatParametersTest, NarrowTensorsHaveAFloat32Original) {
  at::Tensor narrow = at::full({4, 4}, 1.0, at::kBFloat16);
  FlatParameters parameters({{"w", narrow}});
  AdamW optimizer(parameters, {.weight_decay = 0});
  for (int step = 0; step < 100; ++step) {
    for (int micro = 0; micro < 2; ++micro) {
      narrow.sum().backward();
      parameters.gather();
    }
    EXPECT_EQ(parameters.entries()[0].gradient[0][0].item<float>(), 2.0F);
    optimizer.step(1e-4);  // far below bf16's spacing at 1: lost without the original
  }
  EXPECT_NEAR(parameters.values()[0].item<float>(), 0.99, 1e-4);
  EXPECT_EQ(narrow.scalar_type(), at::kBFloat16);
  EXPECT_NEAR(narrow[0][0].item<float>(), 0.99, 4e-3);
}

TEST(FlatParametersTest, NamesTheTensorThatIsNotFinite) {
  at::Tensor a = at::ones({2, 2}), b = at::ones({3});
  FlatParameters parameters({{"a", a}, {"b", b}});
  EXPECT_EQ(parameters.first_non_finite(), "");
  b.mutable_grad()[1] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(parameters.first_non_finite(), "gradient of 'b'");
}

TEST(ScheduleTest, EqualsTransformers) {
  const Json golden = read_json(kGolden / "training.json");
  for (const Json& row : golden.at("schedules")) {
    const std::string kind = row.at("kind");
    const Schedule schedule{kind, row.at("warmup"), row.at("total")};
    const auto factors = row.at("factors").get<std::vector<double>>();
    for (size_t step = 0; step < factors.size(); ++step) {
      // Past the end transformers' cosine rises again; training never asks for it.
      if (static_cast<int64_t>(step) > schedule.total) break;
      EXPECT_NEAR(schedule.factor(static_cast<int64_t>(step)), factors[step], 1e-12) << kind << " " << step;
    }
  }
  EXPECT_EQ(warmup_steps(0.06, 100), 6);
  EXPECT_EQ(warmup_steps(0.06, 101), 7);
}

}  // namespace
}  // namespace lowrank::train
