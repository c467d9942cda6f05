// Runs a comparison: for each method a search over learning rates on validation, then the chosen rate with every seed, tested
// once. Runs are paired by seed. Every run's record is written when it ends, so an interrupted study goes on where it was; a failed
// run is recorded and the others go on.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "lowrank/base/options.h"
#include "lowrank/study/kind.h"

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
  std::filesystem::path out;
  CompareOptions options;
  int64_t first_seed = 42;         // run i of a method has first_seed + i
  Json resolved = Json::object();  // shown in the report
  std::string command, title;
  ProgressSink progress;
  std::function<void(const Run&, int64_t done, int64_t total)> on_run;  // after each run
  const StopToken* stop = nullptr;
};

struct CompareResult {
  Study study;
  bool complete = false;  // false: stopped by the user, what is done is on disk
};

/// Throws Error{invalid_argument} when the folder holds another study (other data, model or options), naming the difference, and what the
/// kind throws.
CompareResult compare(const CompareRequest& request, StudyKind& kind);

/// Where the kept result of a run is, below out/results/<run name>; empty when it was not kept.
std::filesystem::path kept_result(const std::filesystem::path& out, const Run& run);

}  // namespace lowrank::study
