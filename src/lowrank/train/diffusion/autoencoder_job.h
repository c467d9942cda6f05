// Training the autoencoder of a Stable Diffusion model on pictures: what makes latents, and pictures of them.
#pragma once

#include <functional>
#include <span>

#include "lowrank/models/diffusion/autoencoder_kl.h"
#include "lowrank/train/diffusion/picture_schedule.h"
#include "lowrank/train/diffusion/pixels.h"
#include "lowrank/train/flat_parameters.h"
#include "lowrank/train/job.h"
#include "lowrank/train/run_request.h"

namespace lowrank::train {

struct AutoencoderOptions {
  data::ImageDataOptions pictures;
  std::string reconstruction = "l1";  // l1, l2
  double kl_weight = 1e-6;
  std::string latent_scale = "keep";  // keep, measure
  double validation_fraction = 0.1;
};

/// Adds the groups "Pictures" and "Captions", which play no part, and "Autoencoder" to `table`.
void declare(OptionTable& table, AutoencoderOptions& options);

struct AutoencoderRequest : RunRequest {
  std::filesystem::path model;  // a diffusers folder or an original checkpoint
  AutoencoderOptions autoencoder;
  const data::ImageSet* pictures = nullptr;  // must outlive the run
};

/// Items are data::Draw::item() of the pictures. Per picture x [3, H, W] in [−1, 1] with posterior N(μ, σ²) of its latents:
///   mean |x − decode(μ + σε)| (or its square) + kl_weight·½ Σ(μ² + σ² − 1 − log σ²) / (3·H·W),
/// Rombach et al., arXiv 2112.10752, appendix G, without its perceptual and adversarial terms.
class AutoencoderJob : public Job {
 public:
  /// Loads the pipeline; the request must outlive the job. Error{unsupported} for masks and prior pictures.
  explicit AutoencoderJob(const AutoencoderRequest& request);

  std::string unit() const override { return "pictures"; }
  int64_t steps_per_epoch() const override { return schedule_.steps_per_epoch(); }
  std::vector<Pass> passes(int64_t step) override { return schedule_.passes(step); }
  at::Tensor loss(const Pass& pass, int64_t step) override;
  const std::vector<Trainable>& parameters() const override { return parameters_; }
  double default_learning_rate() const override { return 1e-4; }
  std::vector<Probe> probes() override;
  bool has_validation() const override { return !schedule_.held_out().empty(); }
  /// The loss of mean latents over held-out pictures; figures: "standard_error", "psnr" in dB.
  Validation validate(const StopToken* stop, const ProgressSink& progress) override;
  std::string score_name() const override { return ""; }
  Json identity() const override;
  Json describe(const Json& result) const override;
  /// The whole model with the trained autoencoder, its scaling factor measured over what was shown where the options say so.
  std::filesystem::path save(const std::filesystem::path& out, const Json& description) const override;

 private:
  /// Pictures [B, 3, H, W] in [−1, 1], float32, on the autoencoder's device.
  at::Tensor pixels(std::span<const data::Draw> draws, int64_t epoch);
  /// Of places in the set, upright, in batches of one size.
  void for_each_batch(const std::vector<int64_t>& pictures, const std::function<void(const at::Tensor& x)>& sink) const;
  double latent_deviation() const;
  uint64_t seed() const { return static_cast<uint64_t>(request_.options.seed); }

  const AutoencoderRequest& request_;
  std::shared_ptr<models::AutoencoderKL> vae_;
  std::string fingerprint_;
  std::vector<Trainable> parameters_;
  PictureSchedule schedule_;
  mutable PixelCache pixels_;
};

}  // namespace lowrank::train
