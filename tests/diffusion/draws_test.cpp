#include "lowrank/diffusion/draws.h"

#include <numeric>

#include "golden.h"
#include "support/expect_close.h"
#include "support/expect_error.h"
#include "support/fixed_init.h"

namespace lowrank::diffusion {
namespace {

const NoiseSchedule& discrete() {
  static const NoiseSchedule schedule(SchedulerConfig{});
  return schedule;
}

const NoiseSchedule& flow() {
  static const NoiseSchedule schedule(SchedulerConfig{.prediction = Prediction::flow});
  return schedule;
}

std::vector<int64_t> many_ids(int64_t n) {
  std::vector<int64_t> ids(static_cast<size_t>(n));
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

TEST(TimestepShare, EqualsTheReference) {
  const Json golden = read_json(test::golden_file("training.json")).at("losses").at("densities");
  const auto uniform = test::numbers(golden.at("uniform")), normal = test::numbers(golden.at("normal"));
  const DiffusionOptions options{.sigmoid_scale = 0.8, .logit_mean = 0.2, .logit_std = 1.1, .mode_scale = 1.29};
  for (const auto& [ours, theirs] : {std::pair{"uniform", "none"}, std::pair{"logit_normal", "logit_normal"}, std::pair{"mode", "mode"},
                                     std::pair{"sigmoid", "sigmoid"}, std::pair{"shift", "shift"}}) {
    const auto expected = test::numbers(golden.at(theirs));
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(timestep_share(options, ours, 3.0, uniform[i], normal[i]), expected[i], 1e-6) << ours << " " << i;
    }
  }
}

TEST(TrainingTimesteps, DependOnTheSampleAndNotOnItsPlace) {
  const DiffusionOptions options;
  const std::vector<int64_t> ids{7, 3, 11}, turned{11, 7};
  const auto a = training_timesteps(options, discrete(), 1, 42, 5, ids), b = training_timesteps(options, discrete(), 1, 42, 5, turned);
  EXPECT_EQ(a[0], b[1]);
  EXPECT_EQ(a[2], b[0]);
  EXPECT_NE(a, training_timesteps(options, discrete(), 1, 42, 6, ids));
  EXPECT_NE(a, training_timesteps(options, discrete(), 1, 43, 5, ids));
}

TEST(TrainingTimesteps, FillTheirRangeEvenly) {
  const auto drawn = training_timesteps({.min_timestep = 200, .max_timestep = 700}, discrete(), 1, 1, 0, many_ids(20000));
  double sum = 0;
  std::vector<int> counts(5);
  for (const double t : drawn) {
    ASSERT_TRUE(t >= 200 && t <= 699 && t == std::floor(t)) << t;
    sum += t;
    ++counts[static_cast<size_t>((t - 200) / 100)];
  }
  EXPECT_NEAR(sum / 20000, 449.5, 4 * 144.3 / std::sqrt(20000));
  for (const int count : counts) EXPECT_NEAR(count, 4000, 4 * std::sqrt(20000 * 0.2 * 0.8));
}

TEST(TrainingTimesteps, OfFlowModelsAreShiftedByDefault) {
  const auto mean = [](const DiffusionOptions& options, double shift) {
    const auto drawn = training_timesteps(options, flow(), shift, 1, 0, many_ids(4000));
    return std::accumulate(drawn.begin(), drawn.end(), 0.0) / 4000;
  };
  EXPECT_NEAR(mean({}, 1.0), 500, 15);
  EXPECT_GT(mean({}, 3.0), 650);
  EXPECT_EQ(mean({.discrete_flow_shift = 3.0}, 1.0), mean({}, 3.0));
}

TEST(TrainingTimesteps, AnEmptyRangeIsRefused) {
  EXPECT_LOWRANK_ERROR(training_timesteps({.min_timestep = 500, .max_timestep = 500}, discrete(), 1, 1, 0, many_ids(1)),
                       ErrorKind::invalid_argument, "expected min-timestep < max-timestep ≤ 1000, got 500 and 500");
}

const at::Tensor& latents() {
  static const at::Tensor clean = test::fixed({3, 4, 16, 12}, 1, 1.0, at::kFloat);
  return clean;
}

const std::vector<int64_t> kIds{5, 9, 2};

class NoiseKinds : public testing::TestWithParam<DiffusionOptions> {};
INSTANTIATE_TEST_SUITE_P(Options, NoiseKinds,
                         testing::Values(DiffusionOptions{}, DiffusionOptions{.noise_offset = 0.1},
                                         DiffusionOptions{.adaptive_noise_scale = 0.5}, DiffusionOptions{.multires_noise_iterations = 6},
                                         DiffusionOptions{.ip_noise_gamma = 0.1}));

TEST_P(NoiseKinds, DependOnTheSampleAndNotOnItsBatch) {
  const TrainingNoise whole = training_noise(GetParam(), latents(), 42, 3, kIds);
  const TrainingNoise one = training_noise(GetParam(), latents().slice(0, 1, 2), 42, 3, std::vector<int64_t>{9});
  EXPECT_TRUE(at::equal(whole.target.slice(0, 1, 2), one.target));
  EXPECT_TRUE(at::equal(whole.input.slice(0, 1, 2), one.input));
  EXPECT_FALSE(at::equal(whole.target, training_noise(GetParam(), latents(), 42, 4, kIds).target));
  EXPECT_EQ(whole.target.scalar_type(), at::kFloat);
}

TEST(TrainingNoise, OffsetIsOneNumberAChannel) {
  const at::Tensor plain = training_noise({}, latents(), 42, 3, kIds).target;
  const at::Tensor offset = training_noise({.noise_offset = 0.1}, latents(), 42, 3, kIds).target - plain;
  EXPECT_LT(offset.std(at::IntArrayRef{2, 3}, false).max().item<double>(), 1e-6);
  const at::Tensor numbers = offset.mean(at::IntArrayRef{2, 3}) / 0.1;
  EXPECT_NEAR(numbers.std().item<double>(), 1.0, 0.6);  // 12 standard normals
}

TEST(TrainingNoise, MultiresIsSmootherWithTheSameDeviation) {
  const at::Tensor noise = training_noise({.multires_noise_iterations = 6, .multires_noise_discount = 0.8}, latents(), 42, 3, kIds).target;
  for (int64_t i = 0; i < 3; ++i) EXPECT_NEAR(noise[i].std().item<double>(), 1.0, 1e-4);
  const auto neighbours = [](const at::Tensor& x) { return (x.slice(3, 1) * x.slice(3, 0, -1)).mean().item<double>(); };
  EXPECT_GT(neighbours(noise), 0.2);
  EXPECT_NEAR(neighbours(training_noise({}, latents(), 42, 3, kIds).target), 0.0, 0.1);
}

TEST(TrainingNoise, InputPerturbationIsNotInTheTarget) {
  const TrainingNoise noise = training_noise({.ip_noise_gamma = 0.1}, latents(), 42, 3, kIds);
  EXPECT_TRUE(at::equal(noise.target, training_noise({}, latents(), 42, 3, kIds).target));
  EXPECT_NEAR((noise.input - noise.target).std().item<double>(), 0.1, 0.01);
}

TEST(TrainingNoise, OffsetNeedsPictures) {
  EXPECT_LOWRANK_ERROR(training_noise({.noise_offset = 0.1}, test::fixed({3, 4}, 1), 1, 1, kIds), ErrorKind::shape,
                       "expected latents [B, C, H, W]");
  EXPECT_LOWRANK_ERROR(training_noise({}, latents(), 1, 1, many_ids(2)), ErrorKind::shape, "expected 2 samples, got [3, 4, 16, 12]");
}

}  // namespace
}  // namespace lowrank::diffusion
