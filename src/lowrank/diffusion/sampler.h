// From noise to a sample in N steps. One file a sampler, one line in samplers.def.
//
//   const auto sampler = make_sampler(config, steps);
//   x = initial_scale() · noise; for each index: x = step(model(model_input(x, index), timesteps()[index]), index, x, noise)
//
// Samplers are const: they hold N timesteps and their coefficients. What a multistep method remembers is in the caller's History. Random
// numbers come from the caller too, so that a picture is a function of its own seed alone, not of the batch it is drawn in.
#pragma once

#include <ATen/core/Tensor.h>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lowrank/diffusion/noise_schedule.h"
#include "lowrank/diffusion/scheduler_config.h"

namespace lowrank::diffusion {

/// What a multistep sampler keeps from one step to the next; empty before the first.
struct History {
  at::Tensor clean;  // the clean sample predicted by the step before
};

class Sampler {
 public:
  virtual ~Sampler() = default;

  /// What the model is told at each of the N steps, falling; whole numbers but for Karras' and flow's.
  const std::vector<double>& timesteps() const { return timesteps_; }
  /// Noise levels before each step and after the last, N + 1 of them; empty for the samplers in ᾱ (DDPM, DDIM).
  const std::vector<double>& sigmas() const { return sigmas_; }
  /// Standard deviation of the noise that the first step expects.
  virtual double initial_scale() const { return 1.0; }
  /// What the model is shown for `sample` at step `index`.
  virtual at::Tensor model_input(const at::Tensor& sample, int64_t /*index*/) const { return sample; }
  /// Whether step `index` adds noise.
  virtual bool draws(int64_t /*index*/) const { return false; }

  /// The next sample, in `sample`'s dtype (float32 or float64; the model's output may be narrower). `noise`: standard normal
  /// of sample's shape where draws(index), else unused and may be undefined. Error{shape} when something does not fit.
  at::Tensor step(const at::Tensor& output, int64_t index, const at::Tensor& sample, const at::Tensor& noise, History& history) const;

 protected:
  virtual at::Tensor advance(const at::Tensor& output, int64_t index, const at::Tensor& sample, const at::Tensor& noise,
                             History& history) const = 0;

  std::vector<double> timesteps_, sigmas_;
};

struct SamplerKind {
  std::string_view name;               // "ddim"
  std::string_view title;              // "DDIM"
  std::string_view diffusers_class;    // "DDIMScheduler"
  std::string_view source;             // "arXiv 2010.02502"
  SchedulerConfig defaults;            // of that class
  std::vector<std::string_view> keys;  // of that class's scheduler_config.json, but those that all have
  std::vector<Prediction> predictions;
  std::unique_ptr<Sampler> (*make)(const SchedulerConfig& config, const NoiseSchedule& schedule, int64_t steps);

  bool reads(std::string_view key) const;
  bool runs(Prediction prediction) const;
};

/// Every sampler of samplers.def, in that order.
std::span<const SamplerKind* const> sampler_kinds();
/// Throws Error{invalid_argument} with near misses.
const SamplerKind& sampler_named(std::string_view name);

/// The sampler that `config.sampler` names, for `steps` steps. Throws Error{invalid_argument} for steps outside 1 … T, a
/// prediction or a switch (Karras' sigmas, clipping) that it does not know.
std::unique_ptr<Sampler> make_sampler(const SchedulerConfig& config, int64_t steps);

}  // namespace lowrank::diffusion
