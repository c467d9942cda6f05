#include "lowrank/train/memory_plan.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/temp_dir.h"
#include "train/toy.h"

#include "lowrank/evaluate/forward.h"
#include "lowrank/tensor/runtime.h"
#include "lowrank/train/loss.h"
#include "lowrank/train/train.h"

namespace lowrank::train {
namespace {

TEST(MemoryPlanTest, TheMeterSeesTheMostThatLivedAtOnce) {
  const int64_t peak = peak_allocation(at::kCPU, [] {
    { const at::Tensor first = at::empty({1000}, at::kFloat); }
    const at::Tensor second = at::empty({3000}, at::kFloat), third = at::empty({500}, at::kFloat);
  });
  EXPECT_GE(peak, 14000);
  EXPECT_LT(peak, 14600);  // alignment
}

TEST(MemoryPlanTest, ForeseesTheTensorsOfTheLargestBatch) {
  tensor::initialise_runtime(1);
  const test::TempDir folder;
  test::write_toy_model(folder / "model");
  const data::Split split = test::toy_split(data::Task::single_label, 128);
  for (const std::string method : {"lora", "dora", "lokr", "full"}) {
    TrainRequest request = test::toy_request(folder / "model", split, method);
    request.options.batch_size = 64;
    const MemoryPlan plan = train::plan(request);
    EXPECT_EQ(plan.batch_rows, 64);
    const Trainee trainee = make_trainee(request);
    const FlatParameters parameters(trainee.parameters);
    const data::Batcher batcher(split.train, {.batch_size = 64});
    int64_t most = 0;
    for (int64_t epoch = 0; epoch < request.options.epochs; ++epoch) {
      for (int64_t index = 0; index < 2; ++index) {
        const data::Batch batch = batcher.batch(epoch, index);
        most = std::max(most, peak_allocation(test::test_device(), [&] {
                          Objective(split.train).sum(trainee.outputs(evaluate::to_packed(batch, test::test_device())), batch).backward();
                        }));
      }
    }
    EXPECT_NEAR(static_cast<double>(plan.activations) / static_cast<double>(most), 1.0, 0.1) << method;
    EXPECT_EQ(plan.optimiser, 16 * parameters.count());
    EXPECT_GT(plan.process, 10 << 20);
  }
}

TEST(MemoryPlanTest, RefusesWhatCannotFitWithTheBatchSizeThatWould) {
  const MemoryPlan plan{.process = 100 << 20, .optimiser = 100 << 20, .activations = 800 << 20, .batch_units = 4096, .batch_rows = 32};
  const TrainOptions options;
  require_memory(plan, int64_t{900} << 20, options);
  EXPECT_LOWRANK_ERROR(require_memory(plan, int64_t{300} << 20, options), ErrorKind::out_of_memory,
                       "--batch-size 8 --gradient-accumulation 4");
  EXPECT_LOWRANK_ERROR(require_memory(plan, int64_t{50} << 20, options), ErrorKind::out_of_memory, "lower rank");
}

}  // namespace
}  // namespace lowrank::train
