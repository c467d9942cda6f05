#include "lowrank/diffusion/validation.h"

#include <algorithm>
#include <cmath>

#include "lowrank/base/error.h"
#include "lowrank/diffusion/draws.h"

namespace lowrank::diffusion {

namespace {

MeanLoss mean_of(const std::vector<double>& values) {
  MeanLoss result{.samples = static_cast<int64_t>(values.size())};
  if (values.empty()) return result;
  const auto n = static_cast<double>(values.size());
  for (const double value : values) result.mean += value / n;
  if (values.size() < 2) return result;
  double squares = 0;
  for (const double value : values) squares += (value - result.mean) * (value - result.mean);
  result.standard_error = std::sqrt(squares / (n - 1) / n);
  return result;
}

}  // namespace

Band timestep_band(const NoiseSchedule& schedule, int64_t band, int64_t bands) {
  check(bands >= 1 && bands <= schedule.timesteps() && band >= 0 && band < bands, ErrorKind::invalid_argument, "validation",
        "expected a band below {} of at most {}, got {}", bands, schedule.timesteps(), band);
  return {static_cast<double>(schedule.timesteps() * band / bands), static_cast<double>(schedule.timesteps() * (band + 1) / bands)};
}

std::vector<double> validation_timesteps(const NoiseSchedule& schedule, int64_t band, int64_t bands, uint64_t seed,
                                         std::span<const int64_t> ids) {
  const auto [low, high] = timestep_band(schedule, band, bands);
  std::vector<double> timesteps;
  for (const int64_t id : ids) {
    const double t =
        low + (high - low) * RandomStream(seed, "validation:timestep", static_cast<uint64_t>(band), static_cast<uint64_t>(id)).uniform();
    timesteps.push_back(schedule.is_flow() ? t : std::min(std::floor(t), high - 1));
  }
  return timesteps;
}

at::Tensor validation_noise(int64_t band, uint64_t seed, std::span<const int64_t> ids, at::IntArrayRef shape) {
  return normal_noise(seed, "validation:noise", static_cast<uint64_t>(band), ids, shape);
}

void BandedLoss::add(int64_t id, int64_t band, double loss) {
  check(band >= 0 && band < bands_, ErrorKind::internal, "validation", "expected a band below {}, got {}", bands_, band);
  check(losses_[id].emplace(band, loss).second, ErrorKind::internal, "validation", "sample {} has a loss in band {} already", id, band);
}

MeanLoss BandedLoss::band(int64_t band) const {
  std::vector<double> values;
  for (const auto& [id, by_band] : losses_) {
    if (const auto found = by_band.find(band); found != by_band.end()) values.push_back(found->second);
  }
  return mean_of(values);
}

MeanLoss BandedLoss::total() const {
  std::vector<double> values;
  for (const auto& [id, by_band] : losses_) {
    check(static_cast<int64_t>(by_band.size()) == bands_, ErrorKind::internal, "validation", "sample {} has {} of {} bands", id,
          by_band.size(), bands_);
    double sum = 0;
    for (const auto& [band, loss] : by_band) sum += loss;
    values.push_back(sum / static_cast<double>(bands_));
  }
  return mean_of(values);
}

}  // namespace lowrank::diffusion
