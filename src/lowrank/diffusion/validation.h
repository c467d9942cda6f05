// Validation of a diffusion model: the same noise and the same timesteps every time, one of each band for every sample, so that two
// losses differ by the model alone; with the standard error over samples.
#pragma once

#include <ATen/core/Tensor.h>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "lowrank/diffusion/noise_schedule.h"

namespace lowrank::diffusion {

/// [low, high) of the schedule's timesteps, the `band`-th of `bands` equal parts.
struct Band {
  double low, high;
};
Band timestep_band(const NoiseSchedule& schedule, int64_t band, int64_t bands);

/// One timestep in `band` for each sample, and its noise [B, …shape]: functions of (seed, band, id).
std::vector<double> validation_timesteps(const NoiseSchedule& schedule, int64_t band, int64_t bands, uint64_t seed,
                                         std::span<const int64_t> ids);
at::Tensor validation_noise(int64_t band, uint64_t seed, std::span<const int64_t> ids, at::IntArrayRef shape);

struct MeanLoss {
  double mean = 0;
  std::optional<double> standard_error;  // s/√n over samples; none for fewer than two
  int64_t samples = 0;
};

/// Gathers losses by sample and band.
class BandedLoss {
 public:
  explicit BandedLoss(int64_t bands) : bands_(bands) {}

  /// Error{internal} for a band outside or a sample that already has one there.
  void add(int64_t id, int64_t band, double loss);
  MeanLoss band(int64_t band) const;
  /// Over each sample's mean of all bands, which are not independent of each other. Error{internal} for a sample without one of them.
  MeanLoss total() const;

 private:
  int64_t bands_;
  std::map<int64_t, std::map<int64_t, double>> losses_;  // by sample, then band: sums in a fixed order
};

}  // namespace lowrank::diffusion
