// Runs a comparison: for each method a search over learning rates on validation, then the chosen rate with every seed, tested
// once. Runs are paired by seed: same rows in the same order, same new head. Every run's record is written when it ends, so an
// interrupted study goes on where it was; a failed run is recorded and the others go on.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "lowrank/adapters/config.h"
#include "lowrank/base/options.h"
#include "lowrank/base/progress.h"
#include "lowrank/base/stop.h"
#include "lowrank/data/dataset.h"
#include "lowrank/study/study_record.h"
#include "lowrank/train/options.h"

namespace lowrank::study {

struct CompareOptions {
  std::vector<std::string> methods = {"none", "lora", "dora", "lokr", "full"};
  std::vector<double> rate_factors = {0.3, 1, 3};  // learning rates tried: each method's own times these
  int64_t seeds = 3;                               // tested runs a method
  int64_t search_seeds = 1;                        // of these, how many search for the rate
  std::string reference = "lora";
  std::string keep = "first";  // trained results left on disk: first seed of each method, all, none
};

/// Adds the group "Comparison".
void declare(OptionTable& table, CompareOptions& options);

struct CompareRequest {
  std::filesystem::path model, out;
  const data::Split* split = nullptr;  // with validation and test rows; must outlive the call
  CompareOptions options;
  train::TrainOptions train;                                                      // learning_rate is not used
  std::function<adapters::AdapterConfig(const std::string& method)> adapter_for;  // options of a low-rank method
  Json resolved = Json::object();                                                 // shown in the report
  bool robustness = false;                                                        // test pictures under changed conditions too
  std::string command, title;
  ProgressSink progress;
  std::function<void(const Run&, int64_t done, int64_t total)> on_run;  // after each run
  const StopToken* stop = nullptr;
};

struct CompareResult {
  Study study;
  bool complete = false;  // false: stopped by the user, what is done is on disk
};

/// Throws Error{invalid_argument} when the folder holds another study (other data, model or options), naming the difference,
/// or when there are no validation or test rows.
CompareResult compare(const CompareRequest& request);

/// Where the kept result of a run is: out/results/<run name>/adapter or model; empty when it was not kept.
std::filesystem::path kept_result(const std::filesystem::path& out, const Run& run);

}  // namespace lowrank::study
