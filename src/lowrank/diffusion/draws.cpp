#include "lowrank/diffusion/draws.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/upsample_bilinear2d.h>
#include <algorithm>
#include <cmath>
#include <numbers>

#include "lowrank/base/error.h"
#include "lowrank/tensor/random.h"

namespace lowrank::diffusion {

namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

at::Tensor noise_like(const at::Tensor& clean, at::IntArrayRef shape, uint64_t seed, std::string_view purpose, uint64_t step,
                      std::span<const int64_t> ids) {
  return normal_noise(seed, purpose, step, ids, shape).to(clean.options());
}

// n + Σ discount^i·upsampled coarser noise, each layer 2 to 4 times coarser than the one before; over its deviation. One
// sample at a time: the reference shares the sizes and the deviation in a batch, which would make a sample depend on it.
at::Tensor with_coarser_layers(const DiffusionOptions& options, const at::Tensor& noise, uint64_t seed, uint64_t step, int64_t id) {
  RandomStream stream(seed, "noise:multires", step, static_cast<uint64_t>(id));
  const int64_t channels = noise.size(0), height = noise.size(1), width = noise.size(2);
  at::Tensor sum = noise.unsqueeze(0);
  for (int64_t i = 0; i < options.multires_noise_iterations; ++i) {
    const double factor = std::pow(2 + 2 * stream.uniform(), static_cast<double>(i));
    const auto coarse = [&](int64_t size) { return std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(size) / factor)); };
    const int64_t rows = coarse(height), columns = coarse(width);
    const uint64_t layer = static_cast<uint64_t>(i) + step * 64;
    const std::vector<int64_t> ids{id};
    const at::Tensor small = noise_like(noise, {channels, rows, columns}, seed, "noise:multires:layer", layer, ids);
    sum = sum + at::upsample_bilinear2d(small, {height, width}, /*align_corners=*/false) *
                    std::pow(options.multires_noise_discount, static_cast<double>(i));
    if (rows == 1 || columns == 1) break;
  }
  return sum.squeeze(0) / sum.std();
}

}  // namespace

at::Tensor normal_noise(uint64_t seed, std::string_view purpose, uint64_t step, std::span<const int64_t> ids, at::IntArrayRef shape) {
  std::vector<int64_t> sizes{static_cast<int64_t>(ids.size())};
  sizes.insert(sizes.end(), shape.begin(), shape.end());
  at::Tensor noise = at::empty(sizes, at::kFloat);
  for (size_t i = 0; i < ids.size(); ++i) {
    at::Tensor one = noise[static_cast<int64_t>(i)];
    tensor::fill_normal_(one, 0, 1, RandomStream(seed, purpose, step, static_cast<uint64_t>(ids[i])));
  }
  return noise;
}

double timestep_share(const DiffusionOptions& options, std::string_view sampling, double shift, double r, double z) {
  if (sampling == "uniform") return r;
  if (sampling == "logit_normal") return sigmoid(options.logit_mean + options.logit_std * z);
  if (sampling == "mode") return 1 - r - options.mode_scale * (std::pow(std::cos(std::numbers::pi * r / 2), 2) - 1 + r);
  const double u = sigmoid(options.sigmoid_scale * z);
  if (sampling == "sigmoid") return u;
  check(sampling == "shift", ErrorKind::invalid_argument, "timestep sampling",
        "expected one of uniform, sigmoid, shift, logit_normal, mode, got '{}'", sampling);
  return shift * u / (1 + (shift - 1) * u);
}

std::vector<double> training_timesteps(const DiffusionOptions& options, const NoiseSchedule& schedule, double model_shift, uint64_t seed,
                                       uint64_t step, std::span<const int64_t> ids) {
  const int64_t low = options.min_timestep, high = options.max_timestep == 0 ? schedule.timesteps() : options.max_timestep;
  check(low < high && high <= schedule.timesteps(), ErrorKind::invalid_argument, "timestep sampling",
        "expected min-timestep < max-timestep ≤ {}, got {} and {}", schedule.timesteps(), low, high);
  const bool automatic = options.timestep_sampling == "auto";
  const std::string_view sampling = !automatic ? std::string_view(options.timestep_sampling) : schedule.is_flow() ? "shift" : "uniform";
  const double shift = options.discrete_flow_shift > 0 ? options.discrete_flow_shift : model_shift;
  std::vector<double> timesteps;
  for (const int64_t id : ids) {
    RandomStream stream(seed, "timestep", step, static_cast<uint64_t>(id));
    const double r = stream.uniform(), z = stream.normal();
    const double share = std::clamp(timestep_share(options, sampling, shift, r, z), 0.0, 1.0);
    const double t = static_cast<double>(low) + share * static_cast<double>(high - low);
    timesteps.push_back(schedule.is_flow() ? t : std::min(std::floor(t), static_cast<double>(high - 1)));
  }
  return timesteps;
}

TrainingNoise training_noise(const DiffusionOptions& options, const at::Tensor& clean, uint64_t seed, uint64_t step,
                             std::span<const int64_t> ids) {
  check(clean.dim() >= 1 && clean.size(0) == static_cast<int64_t>(ids.size()), ErrorKind::shape, "noise", "expected {} samples, got [{}]",
        ids.size(), fmt::join(clean.sizes(), ", "));
  const bool offset = options.noise_offset > 0 || options.adaptive_noise_scale != 0, layers = options.multires_noise_iterations > 0;
  check(clean.dim() == 4 || !(offset || layers), ErrorKind::shape, "noise",
        "expected latents [B, C, H, W] for noise-offset and multires noise, got [{}]", fmt::join(clean.sizes(), ", "));
  at::Tensor noise = noise_like(clean, clean.sizes().slice(1), seed, "noise", step, ids);
  if (offset) {
    const at::Tensor mean = clean.mean(at::IntArrayRef{2, 3}, /*keepdim=*/true).abs();
    const at::Tensor scale = (options.noise_offset + options.adaptive_noise_scale * mean).clamp_min(0);
    noise = noise + scale * noise_like(clean, {clean.size(1), 1, 1}, seed, "noise:offset", step, ids);
  }
  for (size_t i = 0; layers && i < ids.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    noise[row].copy_(with_coarser_layers(options, noise[row], seed, step, ids[i]));
  }
  if (options.ip_noise_gamma == 0) return {noise, noise};
  return {noise, noise + options.ip_noise_gamma * noise_like(clean, clean.sizes().slice(1), seed, "noise:input", step, ids)};
}

}  // namespace lowrank::diffusion
