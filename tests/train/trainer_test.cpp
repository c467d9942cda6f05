#include <gtest/gtest.h>

#include "support/expect_close.h"
#include "support/expect_error.h"
#include "support/fixed_init.h"
#include "support/temp_dir.h"
#include "train/toy.h"

#include "lowrank/adapters/dialects/peft.h"
#include "lowrank/adapters/lora.h"
#include "lowrank/evaluate/forward.h"
#include "lowrank/evaluate/scores.h"
#include "lowrank/tensor/runtime.h"
#include "lowrank/train/loss.h"
#include "lowrank/train/train.h"

namespace lowrank::train {
namespace {

using data::Task;
using test::close;
using test::toy_request;
using test::toy_split;

class TrainerTest : public testing::Test {
 protected:
  void SetUp() override {
    tensor::initialise_runtime(1);  // products of 16 × 16 gain nothing from threads
    test::write_toy_model(model());
  }
  std::filesystem::path model() const { return folder_ / "model"; }
  std::filesystem::path out(const std::string& name = "out") const { return folder_ / name; }

  /// All that trained but the biases of keys: softmax does not see them, so their gradient is rounding that Adam blows up.
  static at::Tensor trained(const TrainResult& result) {
    std::vector<at::Tensor> parts;
    for (const Trainable& parameter : result.trainee.parameters) {
      if (!parameter.name.ends_with("key.bias")) parts.push_back(parameter.tensor.flatten());
    }
    return at::cat(parts);
  }

  test::TempDir folder_;
};

TEST_F(TrainerTest, EveryMethodLearnsAndTheBestModelIsReturned) {
  const data::Split split = toy_split();
  for (const std::string method : {"lora", "dora", "lokr", "full", "none"}) {
    TrainRequest request = toy_request(model(), split, method);
    request.options.epochs = 12;
    std::vector<double> losses;
    request.metrics = [&](const Json& line) {
      if (line.at("event") == "step") losses.push_back(line.at("loss"));
    };
    const TrainResult result = train(request);
    EXPECT_EQ(result.outcome, Outcome::finished);
    EXPECT_EQ(result.steps, 12 * 8);
    ASSERT_EQ(losses.size(), 12U * 8U);
    const auto mean = [](auto begin, auto end) { return std::accumulate(begin, end, 0.0) / static_cast<double>(end - begin); };
    EXPECT_LT(mean(losses.end() - 8, losses.end()), (method == "none" ? 0.999 : 0.8) * mean(losses.begin(), losses.begin() + 8)) << method;
    const Validation& best = result.validations.at(static_cast<size_t>(result.best));
    for (const Validation& other : result.validations) EXPECT_LE(other.score, best.score) << method;
    const evaluate::Scores again = evaluate::score(split.validation, evaluate::outputs_of(*result.trainee.model, split.validation));
    EXPECT_EQ(again.primary, best.score) << method;
    EXPECT_NEAR(again.loss, best.loss, 1e-6) << method;
    EXPECT_EQ(result.score_name, "accuracy");
  }
}

TEST_F(TrainerTest, EveryTaskLearns) {
  for (const Task task : {Task::multi_label, Task::regression, Task::embedding}) {
    const data::Split split = toy_split(task);
    TrainRequest request = toy_request(model(), split);
    request.options.epochs = 12;
    std::vector<double> losses;
    request.metrics = [&](const Json& line) {
      if (line.at("event") == "step") losses.push_back(line.at("loss"));
    };
    const TrainResult result = train(request);
    const auto mean_of_8 = [](auto begin) { return std::accumulate(begin, begin + 8, 0.0) / 8; };
    EXPECT_LT(mean_of_8(losses.end() - 8), 0.95 * mean_of_8(losses.begin())) << data::to_string(task);
    EXPECT_FALSE(result.validations.empty());
  }
}

TEST_F(TrainerTest, PairsWithoutValuesLearnToFindEachOther) {
  data::Split split = toy_split(Task::embedding);
  for (data::Dataset* part : {&split.train, &split.validation, &split.test}) {
    for (data::Example& example : part->examples) {
      example.value = 1;
      example.pair_ids = {example.ids.rbegin(), example.ids.rend() - 1};
      example.pair_ids.insert(example.pair_ids.begin(), 4);
    }
  }
  TrainRequest request = toy_request(model(), split);
  request.options.epochs = 12;
  const TrainResult result = train(request);
  EXPECT_EQ(result.score_name, "pair_accuracy");
  EXPECT_LT(result.validations.back().loss, result.validations.front().loss);
  request.options.gradient_accumulation = 2;
  EXPECT_LOWRANK_ERROR(train(request), ErrorKind::invalid_argument, "gradient-accumulation");
}

TEST_F(TrainerTest, ABatchMayBeSplitInAnyWay) {
  const data::Split split = toy_split();
  for (const std::string method : {"lora", "dora", "lokr", "full"}) {
    at::Tensor whole;
    for (const int64_t passes : {1, 2, 8}) {
      TrainRequest request = toy_request(model(), split, method);
      if (method == "lora") dynamic_cast<adapters::LoraOptions&>(*request.adapter->options).dropout = 0.3;
      request.options.batch_size = 8 / passes;
      request.options.gradient_accumulation = passes;
      request.options.max_steps = 8;  // the last one holds 4 rows
      const TrainResult result = train(request);
      EXPECT_EQ(result.steps, 8);
      if (passes == 1) whole = trained(result);
      // Adam divides by |g|, so rounding shows most where gradients vanish.
      EXPECT_TRUE(close(trained(result), whole, 2e-4)) << method << ", " << passes << " passes";
    }
  }
}

TEST_F(TrainerTest, PackedSequencesDoNotSeeEachOther) {
  const data::Split split = toy_split();
  const Trainee trainee = make_trainee(toy_request(model(), split));
  const Objective objective(split.train);
  const auto gradients = [&](const std::vector<std::vector<int64_t>>& batches, std::vector<at::Tensor>& outputs) {
    std::vector<at::Tensor> tensors;
    for (const Trainable& parameter : trainee.parameters)
      tensors.push_back(parameter.tensor.mutable_grad() = at::zeros_like(parameter.tensor));
    for (const auto& rows : batches) {
      const data::Batch batch = data::collate(split.train, rows);
      outputs.push_back(trainee.outputs(evaluate::to_packed(batch, test::test_device())));
      objective.sum(outputs.back(), batch).backward();
    }
    return tensors;
  };
  {
    const at::NoGradGuard no_grad;  // away from the start, where B is zero and hides A's gradient
    for (const Trainable& parameter : trainee.parameters) parameter.tensor.add_(test::fixed(parameter.tensor.sizes(), 3, 0.1, at::kFloat));
  }
  std::vector<at::Tensor> together, alone;
  const auto a = gradients({{0, 1, 2, 3, 4}}, together), b = gradients({{0}, {1}, {2}, {3}, {4}}, alone);
  EXPECT_TRUE(close(together.front(), at::cat(alone), 1e-5));
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(close(a[i], b[i], 1e-5)) << trainee.parameters[i].name;
}

TEST_F(TrainerTest, Bfloat16ComputeFollowsFloat32) {
  const data::Split split = toy_split();
  for (const std::string method : {"lora", "dora", "lokr", "full"}) {
    TrainRequest request = toy_request(model(), split, method);
    request.options.epochs = 8;
    const TrainResult wide = train(request);
    request.options.dtype = "bfloat16";
    const TrainResult narrow = train(request);
    EXPECT_NEAR(narrow.validations.back().loss, wide.validations.back().loss, 0.1 * wide.validations.front().loss) << method;
    if (method != "full") EXPECT_EQ(narrow.trainee.parameters.front().tensor.scalar_type(), at::kFloat);
  }
}

TEST_F(TrainerTest, StopsEarlyWithoutImprovement) {
  const data::Split split = toy_split();
  TrainRequest request = toy_request(model(), split);
  request.options.learning_rate = 1e-12;  // nothing can improve
  request.options.epochs = 50;
  request.options.patience = 3;
  request.options.best_by = "score";
  const TrainResult result = train(request);
  EXPECT_EQ(result.outcome, Outcome::early_stopped);
  EXPECT_LT(result.validations.size(), 10U);
  EXPECT_EQ(static_cast<int64_t>(result.validations.size()) - 1 - result.best, 3);
}

TEST_F(TrainerTest, ANonFiniteLossIsCaughtBeforeTheStepAndTheGoodStateKept) {
  const data::Split split = toy_split();
  TrainRequest request = toy_request(model(), split);
  request.options.learning_rate = 1e20;  // the first step ruins the weights, the second sees it
  request.options.warmup_fraction = 0;
  request.options.save_every = 1e6;
  request.out = out();
  int64_t good = 0;
  request.metrics = [&](const Json& line) { good = line.at("step"); };
  EXPECT_LOWRANK_ERROR(train(request), ErrorKind::invalid_argument, "expected a finite loss and gradient");
  ASSERT_TRUE(std::filesystem::exists(out() / "checkpoint.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(out() / "adapter"));
  const tensor::TensorMap saved = tensor::load_tensors(out() / "checkpoint.safetensors");
  EXPECT_TRUE(at::isfinite(saved.at("values")).all().item<bool>());
  EXPECT_EQ(good, 1);
}

TEST_F(TrainerTest, TheSavedAdapterGivesTheSameLogits) {
  const data::Split split = toy_split();
  for (const std::string method : {"lora", "dora", "lokr"}) {
    TrainRequest request = toy_request(model(), split, method);
    request.out = out(method);
    const TrainResult result = train(request);
    EXPECT_EQ(result.saved, out(method) / "adapter");
    const at::Tensor expected = evaluate::outputs_of(*result.trainee.model, split.test);
    const auto fresh = models::load_text_model(model(), head_for(split, 7));
    adapters::load_peft(*fresh, adapters::read_peft(result.saved), fresh->new_modules());
    EXPECT_TRUE(close(evaluate::outputs_of(*fresh, split.test), expected, 1e-6)) << method;
    const Json note = read_json(result.saved / "lowrank.json");
    EXPECT_EQ(note.at("labels"), Json(split.labels.names));
    EXPECT_FALSE(std::filesystem::exists(request.out / "checkpoint.safetensors"));
  }
}

TEST_F(TrainerTest, FullAndNoneSaveWholeModels) {
  const data::Split split = toy_split();
  for (const std::string method : {"full", "none"}) {
    TrainRequest request = toy_request(model(), split, method);
    request.out = out(method);
    const TrainResult result = train(request);
    const auto fresh = models::load_text_model(result.saved, models::stored_head(result.saved));
    EXPECT_TRUE(close(evaluate::outputs_of(*fresh, split.test), evaluate::outputs_of(*result.trainee.model, split.test), 1e-6)) << method;
    EXPECT_EQ(fresh->head().labels, split.labels.names);
    EXPECT_EQ(read_json(result.saved / "lowrank.json").at("method"), method);
  }
}

TEST_F(TrainerTest, NothingToTrainIsAnError) {
  const data::Split split = toy_split(Task::embedding);
  EXPECT_LOWRANK_ERROR(train(toy_request(model(), split, "none")), ErrorKind::invalid_argument, "something to train");
}

TEST_F(TrainerTest, AFinishedFolderIsNotOverwritten) {
  const data::Split split = toy_split();
  TrainRequest request = toy_request(model(), split);
  request.options.max_steps = 1;
  request.out = out();
  train(request);
  EXPECT_LOWRANK_ERROR(train(request), ErrorKind::invalid_argument, "finished run");
  request.resume = true;
  EXPECT_LOWRANK_ERROR(train(request), ErrorKind::invalid_argument, "finished run");
}

}  // namespace
}  // namespace lowrank::train
