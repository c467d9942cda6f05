// The loop with a job that has no model, no text and no score: it must know of none of them.
#include "lowrank/train/job.h"

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "support/temp_dir.h"

#include "lowrank/base/file.h"
#include "lowrank/base/random.h"
#include "lowrank/tensor/load.h"
#include "lowrank/tensor/runtime.h"
#include "lowrank/train/trainer.h"

namespace lowrank::train {
namespace {

/// Finds the mean of noisy numbers: item i is i/10 plus noise of (step, i). Two tensors train, one of them in two dimensions.
class MeanJob : public Job {
 public:
  static constexpr int64_t kItems = 20, kStep = 8;

  explicit MeanJob(int64_t pass_size) : pass_size_(pass_size) {}

  std::string unit() const override { return "numbers"; }
  int64_t steps_per_epoch() const override { return (kItems + kStep - 1) / kStep; }
  std::vector<Pass> passes(int64_t step) override {
    const int64_t first = step % steps_per_epoch() * kStep, end = std::min(first + kStep, kItems);
    std::vector<Pass> passes;
    for (int64_t begin = first; begin < end; begin += pass_size_) {
      Pass pass;
      for (int64_t item = begin; item < std::min(begin + pass_size_, end); ++item) pass.items.push_back(item);
      pass.weight = static_cast<double>(pass.items.size());
      pass.units = static_cast<int64_t>(pass.items.size());
      passes.push_back(pass);
    }
    return passes;
  }
  at::Tensor loss(const Pass& pass, int64_t step) override {
    std::vector<float> targets;
    for (const int64_t item : pass.items) {
      RandomStream stream(1, "noise", static_cast<uint64_t>(step), static_cast<uint64_t>(item));
      targets.push_back(static_cast<float>(static_cast<double>(item) / 10 + stream.uniform() - 0.5));
    }
    return (at::tensor(targets) - parameters_[0].tensor.sum() - parameters_[1].tensor).pow(2).sum();
  }
  const std::vector<Trainable>& parameters() const override { return parameters_; }
  double default_learning_rate() const override { return 0.05; }
  std::vector<Probe> probes() override {
    return {{.rows = pass_size_,
             .units = [](int64_t rows) { return rows; },
             .run = [this](int64_t rows) { loss({std::vector<int64_t>(static_cast<size_t>(rows), 0)}, 0).backward(); },
             .has_gradients = true}};
  }
  bool has_validation() const override { return true; }
  Validation validate(const StopToken* /*stop*/, const ProgressSink& /*progress*/) override {
    const double off = value() - 0.95;
    return {.loss = off * off, .figures = {{"value", value()}}};
  }
  std::string score_name() const override { return ""; }
  Json identity() const override { return {{"data", "tenths"}}; }
  Json describe(const Json& result) const override { return {{"of", "a mean"}, {"result", result}}; }
  std::filesystem::path save(const std::filesystem::path& out, const Json& description) const override {
    write_file_atomic(out / "mean.json", format_json(description));
    return out / "mean.json";
  }
  double value() const { return (parameters_[0].tensor.sum() + parameters_[1].tensor).item<double>(); }

 private:
  int64_t pass_size_;
  std::vector<Trainable> parameters_ = {{"a", at::zeros({2, 2}).requires_grad_()}, {"b", at::zeros({1}).requires_grad_()}};
};

RunRequest request_for(const std::filesystem::path& out) {
  RunRequest request;
  request.options = {.epochs = 40, .warmup_fraction = 0, .weight_decay = 0};
  request.out = out;
  return request;
}

RunResult train_mean(MeanJob& job, const RunRequest& request) {
  tensor::initialise_runtime(1);
  const auto folder = open_folder(request);
  return run(job, request, folder.get());
}

TEST(JobTest, LearnsCountsItsUnitsAndSavesWhatItLikes) {
  const test::TempDir folder;
  MeanJob job(8);
  std::vector<Json> lines;
  RunRequest request = request_for(folder / "out");
  request.metrics = [&](const Json& line) { lines.push_back(line); };
  const RunResult result = train_mean(job, request);
  EXPECT_EQ(result.steps, 120);
  EXPECT_EQ(result.units, 40 * MeanJob::kItems);
  EXPECT_NEAR(job.value(), 0.95, 0.15);
  EXPECT_EQ(result.saved, folder / "out" / "mean.json");
  const Json saved = read_json(result.saved), written = read_json(folder / "out" / "result.json");
  EXPECT_EQ(saved.at("of"), "a mean");
  EXPECT_EQ(saved.at("result").at("best_step"), result.validations[static_cast<size_t>(result.best)].step);
  EXPECT_EQ(written.at("numbers"), 800);
  EXPECT_TRUE(written.at("validations")[0].contains("value"));
  EXPECT_EQ(lines.front().at("numbers"), 8);
  // Without a score the lowest loss is the best.
  for (const Validation& one : result.validations) EXPECT_GE(one.loss, result.validations[static_cast<size_t>(result.best)].loss);
}

TEST(JobTest, AStepMayBeCutIntoPassesInAnyWay) {
  const test::TempDir folder;
  double whole = 0;
  for (const int64_t pass_size : {8, 3, 1}) {
    MeanJob job(pass_size);
    EXPECT_EQ(train_mean(job, request_for({})).steps, 120);
    if (pass_size == 8) whole = job.value();
    EXPECT_NEAR(job.value(), whole, 1e-5) << pass_size;
  }
}

TEST(JobTest, PartsEndWithTheBytesOfTheWhole) {
  const test::TempDir folder;
  MeanJob whole(4);
  train_mean(whole, request_for(folder / "whole"));
  RunRequest request = request_for(folder / "parts");
  for (const int64_t stop_at : {7, 61}) {
    StopToken stop;
    request.stop = &stop;
    request.metrics = [&](const Json& line) {
      if (line.at("step") == stop_at) stop.request();
    };
    MeanJob job(4);
    EXPECT_EQ(train_mean(job, request).outcome, Outcome::cancelled);
    request.resume = true;
  }
  request.stop = nullptr;
  request.metrics = {};
  MeanJob last(4);
  train_mean(last, request);
  EXPECT_EQ(last.value(), whole.value());
  EXPECT_EQ(read_file(folder / "parts" / "mean.json"), read_file(folder / "whole" / "mean.json"));
}

}  // namespace
}  // namespace lowrank::train
