// Training a Stable Diffusion model's adapter, or all of its UNet, on captioned pictures.
#pragma once

#include <memory>

#include "lowrank/diffusion/validation.h"
#include "lowrank/train/diffusion/picture_batch.h"
#include "lowrank/train/diffusion/picture_schedule.h"
#include "lowrank/train/diffusion/sample_grid.h"
#include "lowrank/train/diffusion/trainee.h"
#include "lowrank/train/job.h"

namespace lowrank::train {

/// Items are data::Draw::item() of the pictures. A step is one batch of one bucket.
class DiffusionJob : public Job {
 public:
  /// Loads the pipeline and splits the pictures; the request must outlive the job. Throws what make_trainee() throws and
  /// Error{invalid_argument} for options that do not fit the model.
  explicit DiffusionJob(const DiffusionRequest& request);

  std::string unit() const override { return "pictures"; }
  int64_t steps_per_epoch() const override { return schedule_.steps_per_epoch(); }
  std::vector<Pass> passes(int64_t step) override { return schedule_.passes(step); }
  at::Tensor loss(const Pass& pass, int64_t step) override;
  const std::vector<Trainable>& parameters() const override { return trainee_.parameters; }
  double default_learning_rate() const override { return default_diffusion_rate(trainee_.method); }
  std::vector<Probe> probes() override;
  int64_t prepared_bytes() const override;
  /// Fills the cache with latents, and with text states where captions are known beforehand; lets go of what nobody needs any more.
  void prepare(const ProgressSink& progress) override;
  bool has_validation() const override { return !held_out_.empty(); }
  /// Mean over held-out pictures of the plain loss under fixed noise and timesteps; figures: "standard_error" and "bands".
  Validation validate(const StopToken* stop, const ProgressSink& progress) override;
  std::string score_name() const override { return ""; }
  int64_t sample_interval() const override { return grid_ ? request_.diffusion.samples.every : 0; }
  void draw_samples(int64_t step, bool last, const StopToken* stop, const ProgressSink& progress) override;
  /// "cut_captions": those that the text windows do not hold.
  Json notes() const override;
  Json identity() const override;
  Json describe(const Json& result) const override;
  std::filesystem::path save(const std::filesystem::path& out, const Json& description) const override;

  const DiffusionTrainee& trainee() const { return trainee_; }
  /// Names of the pictures that are held out.
  std::vector<std::string> held_out() const;

 private:
  void fit_captions(const std::vector<ClipTokens>& tokens);
  void tell_cut_captions() const;
  /// Every text that training may show, or nothing when it cannot be known.
  std::vector<std::string> known_captions() const;
  Probe training_probe();
  Probe encoding_probe();
  /// Of the pipeline's weights, those that prepare() lets go of.
  int64_t released_bytes() const;
  bool releases_text() const { return !trains_text_ && !known_captions().empty(); }
  uint64_t seed() const { return static_cast<uint64_t>(request_.options.seed); }

  const DiffusionRequest& request_;
  DiffusionTrainee trainee_;
  TensorCache cache_;
  Latents latents_;
  PictureSchedule schedule_;
  std::unique_ptr<Latents> validation_latents_;  // of a folder of their own
  std::unique_ptr<TextStates> text_;
  std::unique_ptr<diffusion::DiffusionLoss> loss_;
  std::unique_ptr<PictureSource> source_, validation_source_;
  std::vector<int64_t> held_out_;                // places in validation_source_'s set
  std::unique_ptr<SampleGrid> grid_;             // none without prompts
  std::vector<data::NamedFigure> cut_captions_;  // longest first
  double model_shift_ = 1;
  bool trains_text_ = false;
};

}  // namespace lowrank::train
