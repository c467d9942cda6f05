// What a comparison trains and tests. The runner (runner.h) knows methods, learning rates, seeds and records; a kind of study knows its
// data, its models and its scores. One file a kind: encoder_study.h has labelled texts and pictures, diffusion_study.h pictures drawn.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "lowrank/base/progress.h"
#include "lowrank/base/stop.h"
#include "lowrank/study/study_record.h"
#include "lowrank/train/trainer.h"

namespace lowrank::study {

struct RunHooks {
  ProgressSink progress;
  const StopToken* stop = nullptr;
};

/// A run that was trained and is not tested yet.
class TrainedRun {
 public:
  virtual ~TrainedRun() = default;
  virtual const train::RunResult& result() const = 0;
  /// Fills item_scores and test_score of `run`, and what else the kind records of the test items.
  virtual void test(Run& run, const Study& study, const RunHooks& hooks) = 0;
  /// Writes the trained result below `folder`.
  virtual void save(const std::filesystem::path& folder) const = 0;
};

class StudyKind {
 public:
  virtual ~StudyKind() = default;
  /// A method's own, which the learning rates tried are multiples of.
  virtual double default_learning_rate(const std::string& method) const = 0;
  /// Model, data, unit, score and test items. Throws Error{invalid_argument | unsupported} for what cannot be compared.
  virtual void describe(Study& study) const = 0;
  /// What the unadapted model says of the test items. `before`: the record that an interrupted study left, or null.
  virtual void measure_base(Study& study, const Study* before, const RunHooks& hooks) = 0;
  /// All that is random depends on run.seed, so that methods are paired by it.
  virtual std::unique_ptr<TrainedRun> train(const Run& run, const RunHooks& hooks) = 0;
};

}  // namespace lowrank::study
