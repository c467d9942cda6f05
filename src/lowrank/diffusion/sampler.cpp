#include "lowrank/diffusion/sampler.h"

#include <algorithm>
#include <array>

#include "lowrank/base/error.h"

namespace lowrank::diffusion {

#define LOWRANK_SAMPLER(name) const SamplerKind& name##_sampler();
#include "lowrank/diffusion/samplers.def"
#undef LOWRANK_SAMPLER

std::span<const SamplerKind* const> sampler_kinds() {
  static const std::array table = {
#define LOWRANK_SAMPLER(name) &name##_sampler(),
#include "lowrank/diffusion/samplers.def"
#undef LOWRANK_SAMPLER
  };
  return table;
}

bool SamplerKind::reads(std::string_view key) const { return std::find(keys.begin(), keys.end(), key) != keys.end(); }

bool SamplerKind::runs(Prediction prediction) const {
  return std::find(predictions.begin(), predictions.end(), prediction) != predictions.end();
}

const SamplerKind& sampler_named(std::string_view name) {
  std::vector<std::string> names;
  for (const SamplerKind* kind : sampler_kinds()) {
    if (kind->name == name) return *kind;
    names.emplace_back(kind->name);
  }
  fail(ErrorKind::invalid_argument, "sampler",
       fmt::format("expected one of {}, got '{}'{}", fmt::join(names, ", "), name, did_you_mean(name, names)));
}

at::Tensor Sampler::step(const at::Tensor& output, int64_t index, const at::Tensor& sample, const at::Tensor& noise,
                         History& history) const {
  const auto fits = [&](const at::Tensor& tensor, std::string_view what) {
    check(tensor.defined() && tensor.sizes() == sample.sizes(), ErrorKind::shape, "sampler",
          "expected {} of the sample's shape [{}], got {}", what, fmt::join(sample.sizes(), ", "),
          tensor.defined() ? fmt::format("[{}]", fmt::join(tensor.sizes(), ", ")) : "none");
  };
  check(index >= 0 && index < static_cast<int64_t>(timesteps_.size()), ErrorKind::invalid_argument, "sampler",
        "expected a step from 0 to {}, got {}", timesteps_.size() - 1, index);
  check(sample.scalar_type() == at::kFloat || sample.scalar_type() == at::kDouble, ErrorKind::invalid_argument, "sampler",
        "expected samples in float32 or float64 (narrower ones lose the small steps), got {}", c10::toString(sample.scalar_type()));
  fits(output, "a model output");
  if (draws(index)) fits(noise, "noise");
  return advance(output.to(sample.scalar_type()), index, sample, noise, history);
}

std::unique_ptr<Sampler> make_sampler(const SchedulerConfig& config, int64_t steps) {
  const SamplerKind& kind = sampler_named(config.sampler);
  const NoiseSchedule schedule(config);
  check(steps >= 1 && steps <= config.train_timesteps, ErrorKind::invalid_argument, kind.name, "expected 1 to {} steps, got {}",
        config.train_timesteps, steps);
  check(kind.runs(config.prediction), ErrorKind::invalid_argument, kind.name, "cannot run a model that predicts '{}'",
        to_string(config.prediction));
  check(!config.karras || kind.reads("use_karras_sigmas"), ErrorKind::invalid_argument, kind.name, "has no Karras sigmas");
  check(!config.clip_sample || kind.reads("clip_sample"), ErrorKind::invalid_argument, kind.name, "cannot clip the predicted sample");
  auto sampler = kind.make(config, schedule, steps);
  for (const double t : sampler->timesteps()) {
    check(t >= 0 && t <= static_cast<double>(config.train_timesteps - (config.is_flow() ? 0 : 1)), ErrorKind::invalid_argument, kind.name,
          "expected timesteps below {}, got {}: 'steps_offset' is {}", config.train_timesteps, t, config.steps_offset);
  }
  return sampler;
}

}  // namespace lowrank::diffusion
