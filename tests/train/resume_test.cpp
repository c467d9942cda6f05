#include <fstream>
#include <gtest/gtest.h>
#include <sys/file.h>

#include "support/expect_error.h"
#include "support/temp_dir.h"
#include "train/toy.h"

#include "lowrank/base/stop.h"
#include "lowrank/tensor/runtime.h"
#include "lowrank/train/run_folder.h"
#include "lowrank/train/train.h"

namespace lowrank::train {
namespace {

using test::toy_request;
using test::toy_split;

/// The bytes of every file below the folder of a finished run's result.
std::map<std::string, std::string> contents(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files[entry.path().filename().string()] = read_file(entry.path());
  }
  return files;
}

/// Trains, stopping after each of `stops` steps and going on with a new process's state: nothing but the folder.
TrainResult train_in_parts(TrainRequest request, const std::vector<int64_t>& stops) {
  for (const int64_t stop_at : stops) {
    StopToken stop;
    request.stop = &stop;
    request.metrics = [&](const Json& line) {
      if (line.at("step") == stop_at) stop.request();
    };
    const TrainResult result = train(request);
    EXPECT_EQ(result.outcome, Outcome::cancelled);
    EXPECT_EQ(result.steps, stop_at);
    request.resume = true;
  }
  request.stop = nullptr;
  request.metrics = {};
  return train(request);
}

class ResumeTest : public testing::Test {
 protected:
  void SetUp() override {
    tensor::initialise_runtime(1);
    test::write_toy_model(model());
  }
  std::filesystem::path model() const { return folder_ / "model"; }
  test::TempDir folder_;
};

TEST_F(ResumeTest, PartsEndWithTheBytesOfTheWhole) {
  const data::Split split = toy_split();
  for (const std::string method : {"lora", "dora", "lokr", "none", "full"}) {
    TrainRequest request = toy_request(model(), split, method);
    request.options.validate_every = 0.5;
    request.options.gradient_accumulation = 2;
    request.options.batch_size = 4;
    request.out = folder_ / (method + "-whole");
    const TrainResult whole = train(request);
    request.out = folder_ / (method + "-parts");
    const TrainResult parts = train_in_parts(request, {1, 4, 17, 30});  // 4: right after a validation; 17 and 30: mid-epoch
    EXPECT_EQ(whole.steps, 32);
    EXPECT_EQ(parts.steps, 32);
    EXPECT_EQ(parts.units, whole.units);
    ASSERT_EQ(parts.validations.size(), whole.validations.size());
    EXPECT_EQ(parts.best, whole.best);
    EXPECT_EQ(contents(parts.saved), contents(whole.saved)) << method;
  }
}

TEST_F(ResumeTest, MetricsContinueWithoutGapsOrDuplicates) {
  const data::Split split = toy_split();
  TrainRequest request = toy_request(model(), split);
  request.out = folder_ / "out";
  train_in_parts(request, {3, 8, 20});
  std::ifstream file(request.out / "metrics.jsonl");
  std::vector<int64_t> steps, validations;
  for (std::string text; std::getline(file, text);) {
    const Json line = parse_json(text, "metrics.jsonl");
    (line.at("event") == "step" ? steps : validations).push_back(line.at("step"));
  }
  std::vector<int64_t> expected(32);
  std::iota(expected.begin(), expected.end(), 1);
  EXPECT_EQ(steps, expected);
  EXPECT_EQ(validations, (std::vector<int64_t>{8, 16, 24, 32}));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(request.out / "tensorboard"), {}), 1);
}

TEST_F(ResumeTest, OtherOptionsDataOrModelAreRefusedByName) {
  data::Split split = toy_split();
  TrainRequest request = toy_request(model(), split);
  request.out = folder_ / "out";
  StopToken stop;
  stop.request();
  request.stop = &stop;
  EXPECT_EQ(train(request).outcome, Outcome::cancelled);
  EXPECT_LOWRANK_ERROR(train(request), ErrorKind::invalid_argument, "unfinished run");
  request.resume = true;
  EXPECT_EQ(train(request).outcome, Outcome::cancelled);

  TrainRequest other = request;
  other.options.learning_rate = 0.5;
  EXPECT_LOWRANK_ERROR(train(other), ErrorKind::invalid_argument, "'learning-rate' was 0.01 and is 0.5 now");
  other = request;
  other.adapter->rank = 2;
  EXPECT_LOWRANK_ERROR(train(other), ErrorKind::invalid_argument, "'adapter' was");
  other = request;
  other.options.save_every = 5;  // decides no number
  EXPECT_EQ(train(other).outcome, Outcome::cancelled);
  split.train.examples[3].ids[1] = 30;
  EXPECT_LOWRANK_ERROR(train(request), ErrorKind::invalid_argument, "'data' was");
}

TEST_F(ResumeTest, ATornCheckpointIsAFormatError) {
  const data::Split split = toy_split();
  TrainRequest request = toy_request(model(), split);
  request.out = folder_ / "out";
  std::filesystem::create_directories(request.out);
  std::ofstream(request.out / "checkpoint.safetensors") << "torn";
  request.resume = true;
  EXPECT_LOWRANK_ERROR(train(request), ErrorKind::file_format, "checkpoint.safetensors");
}

TEST(RunFolderTest, OneRunAtATime) {
  const test::TempDir folder;
  const RunFolder first(folder / "run", false);
  EXPECT_LOWRANK_ERROR(RunFolder(folder / "run", true), ErrorKind::invalid_argument, "another run");
}

TEST(RunFolderTest, AFileInTheWayIsAnIoError) {
  const test::TempDir folder;
  std::ofstream(folder / "file") << "x";
  EXPECT_LOWRANK_ERROR(RunFolder(folder / "file" / "run", false), ErrorKind::io, "expected to create the folder");
}

}  // namespace
}  // namespace lowrank::train
