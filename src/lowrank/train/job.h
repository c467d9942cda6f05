// What the loop (trainer.h) trains. The loop knows steps, learning rates, checkpoints and metrics; a job knows its data, its
// models and its loss. One file a kind of work: encoder_job.h has classification, regression and embedding.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "lowrank/base/json.h"
#include "lowrank/base/progress.h"
#include "lowrank/base/stop.h"
#include "lowrank/train/flat_parameters.h"
#include "lowrank/train/validation.h"

namespace lowrank::train {

/// One forward and backward pass: a step has one, or more when gradients are accumulated.
struct Pass {
  std::vector<int64_t> items;  // numbers that the job gave its training items
  double weight = 0;           // number of terms that loss() sums; known before the forward pass
  int64_t units = 0;           // Job::unit() of them
};

/// Work that may need most memory. It can be run over its first rows alone, and what those need tells what all will.
struct Probe {
  std::string phase = "training";              // of the run that it stands for
  int64_t rows = 0;                            // of the whole pass
  std::function<int64_t(int64_t rows)> units;  // in the first `rows`: what memory grows with
  std::function<void(int64_t rows)> run;       // loss and, under gradients, backward; empty: it needs nothing worth measuring
  bool has_gradients = false;
  int64_t released = 0;         // bytes held now that were let go of before
  bool is_preparation = false;  // before prepare() has kept anything
  std::string remedy;           // when it does not fit; empty: smaller batches
};

class Job {
 public:
  virtual ~Job() = default;

  /// What a pass is counted in, for the rate: "tokens", "pictures".
  virtual std::string unit() const = 0;
  virtual int64_t steps_per_epoch() const = 0;
  /// The passes of optimiser step `step`, as a function of the step alone: a resumed run draws the same.
  virtual std::vector<Pass> passes(int64_t step) = 0;
  /// The sum of the pass's terms, a float32 scalar; the loop divides by the weight of the whole step. All randomness is a
  /// function of (seed, step, item), so that a step may be cut into passes in any way.
  virtual at::Tensor loss(const Pass& pass, int64_t step) = 0;

  /// All that trains, of any number of models: leaf tensors on one device that require gradients, each named once.
  virtual const std::vector<Trainable>& parameters() const = 0;
  /// When the user names none.
  virtual double default_learning_rate() const = 0;

  /// For the memory plan: the largest training pass, then the largest of every other phase. May leave gradients behind.
  virtual std::vector<Probe> probes() = 0;
  /// Bytes that prepare() will keep for training and validation.
  virtual int64_t prepared_bytes() const { return 0; }
  /// What is computed once, after the plan was found to fit and before the first step.
  virtual void prepare(const ProgressSink& /*progress*/) {}

  virtual bool has_validation() const = 0;
  /// Loss, score and further figures with the present parameters; what is random in it is the same every time. Called without
  /// gradients. Error{cancelled} when stopped.
  virtual Validation validate(const StopToken* stop, const ProgressSink& progress) = 0;
  /// Of Validation::score, higher being better; "" before the first validation, and for a job with a loss alone.
  virtual std::string score_name() const = 0;

  /// Steps between calls of draw_samples(), which comes before the first step and after the last too; 0: never.
  virtual int64_t sample_interval() const { return 0; }
  /// Shows what the present parameters do and changes nothing: training goes on as if it had not been called. Called without gradients,
  /// and after a stop perhaps again for the same step. Error{cancelled} when stopped.
  virtual void draw_samples(int64_t /*step*/, bool /*last*/, const StopToken* /*stop*/, const ProgressSink& /*progress*/) {}

  /// Facts for result.json beside the run's figures, such as what of the data was not used.
  virtual Json notes() const { return Json::object(); }
  /// A flat object of what decides the numbers besides the options and the layout of what trains: models, data, method.
  /// A run is resumed only by an equal one.
  virtual Json identity() const = 0;
  /// What is written down beside the result: identity, options, and `result`, the run's figures.
  virtual Json describe(const Json& result) const = 0;
  /// Writes the result below `out`, whole or not at all, and returns its path. `description` is describe()'s.
  virtual std::filesystem::path save(const std::filesystem::path& out, const Json& description) const = 0;
};

}  // namespace lowrank::train
