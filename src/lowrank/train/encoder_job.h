// Training an encoder and its head: classification, regression and embedding.
#pragma once

#include "lowrank/train/encoder_validation.h"
#include "lowrank/train/job.h"
#include "lowrank/train/loss.h"
#include "lowrank/train/trainee.h"

namespace lowrank::train {

class EncoderJob : public Job {
 public:
  /// Loads the model, as make_trainee() says. The request must outlive the job. Throws what make_trainee() throws, and
  /// Error{invalid_argument} for gradient accumulation with a loss that cannot be split.
  explicit EncoderJob(const TrainRequest& request);

  std::string unit() const override { return request_.split->train.pictures ? "pictures" : "tokens"; }
  int64_t steps_per_epoch() const override { return batcher_.batches_per_epoch(); }
  std::vector<Pass> passes(int64_t step) override;
  at::Tensor loss(const Pass& pass, int64_t step) override;
  const std::vector<Trainable>& parameters() const override { return trainee_.parameters; }
  double default_learning_rate() const override { return train::default_learning_rate(trainee_.method); }
  std::vector<Probe> probes() override;
  int64_t prepared_bytes() const override;
  void prepare(const ProgressSink& progress) override;
  bool has_validation() const override { return validator_.has_rows(); }
  Validation validate(const StopToken* stop, const ProgressSink& progress) override { return validator_.run(stop, progress); }
  std::string score_name() const override { return validator_.score_name(); }
  Json identity() const override;
  Json describe(const Json& result) const override;
  std::filesystem::path save(const std::filesystem::path& out, const Json& description) const override;

  Trainee& trainee() { return trainee_; }
  const Objective& objective() const { return objective_; }

 private:
  Pass pass_of(std::span<const int64_t> rows) const;
  /// Method none computes the frozen encoder's states once, unless pictures are shown differently each time.
  bool keeps_features() const { return trainee_.method == "none" && !request_.split->train.augment.any(); }
  /// Changes the pictures of a batch as --rotate and its kin allow.
  void augment(data::Batch& batch, int64_t epoch) const;
  /// The batch as the model reads it at `step`, with dropout keys where something drops out.
  models::Batch inputs(const data::Batch& batch, int64_t step) const;
  int64_t units_of(const data::Dataset& rows, std::span<const int64_t> places) const;
  std::vector<int64_t> largest_pass() const;
  Probe probe_of(const data::Dataset& rows, std::vector<int64_t> places, bool has_gradients);

  const TrainRequest& request_;
  Trainee trainee_;
  Objective objective_;
  data::Batcher batcher_;  // a batch is a step
  Validator validator_;
  at::Tensor features_;  // when keeps_features(): the frozen encoder's first states of all training rows [n, D]
  int64_t epoch_ = -1;
  std::vector<int64_t> order_;  // of epoch_
};

}  // namespace lowrank::train
