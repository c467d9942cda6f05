#include "lowrank/diffusion/loss.h"

#include "golden.h"
#include "support/expect_close.h"
#include "support/expect_error.h"
#include "support/fixed_init.h"

namespace lowrank::diffusion {
namespace {

Json golden() { return read_json(test::golden_file("training.json")).at("losses"); }

DiffusionLoss loss_of(const DiffusionOptions& options, Prediction prediction = Prediction::epsilon, bool zero_terminal_snr = false) {
  SchedulerConfig config = parse_scheduler_config(golden().at("config"), "golden");
  config.prediction = prediction;
  config.zero_terminal_snr = zero_terminal_snr;
  return {NoiseSchedule(config), prediction, options};
}

void expect_weights(const std::string& name, const DiffusionOptions& options, Prediction prediction) {
  const Json file = golden();
  const auto timesteps = test::numbers(file.at("timesteps")), expected = test::numbers(file.at("weights").at(name));
  const DiffusionLoss loss = loss_of(options, prediction);
  for (size_t i = 0; i < timesteps.size(); ++i) {
    EXPECT_NEAR(loss.weight(timesteps[i]), expected[i], 3e-6 * expected[i]) << name << " at " << timesteps[i];
  }
}

TEST(DiffusionLoss, WeightsAreKohyas) {
  expect_weights("min_snr.epsilon", {.min_snr_gamma = 5}, Prediction::epsilon);
  expect_weights("min_snr.v_prediction", {.min_snr_gamma = 5}, Prediction::v_prediction);
  expect_weights("debiased.epsilon", {.debiased_estimation_loss = true}, Prediction::epsilon);
  expect_weights("debiased.v_prediction", {.debiased_estimation_loss = true}, Prediction::v_prediction);
  expect_weights("scaled.v_prediction", {.scale_v_pred_loss_like_noise_pred = true}, Prediction::v_prediction);
  expect_weights("like.epsilon", {.v_pred_like_loss = 0.3}, Prediction::epsilon);
}

TEST(DiffusionLoss, FlowWeightsAreThoseOfStableDiffusion3) {
  const Json file = golden();
  const auto sigmas = test::numbers(file.at("sigmas"));
  for (const std::string scheme : {"none", "sigma_sqrt", "cosmap"}) {
    const DiffusionLoss loss = loss_of({.weighting_scheme = scheme}, Prediction::flow);
    const auto expected = test::numbers(file.at("sd3").at(scheme));
    for (size_t i = 0; i < sigmas.size(); ++i) EXPECT_NEAR(loss.weight(1000 * sigmas[i]), expected[i], 1e-6 * expected[i]) << scheme;
  }
}

TEST(DiffusionLoss, LossesAreKohyas) {
  const Json file = golden();
  const auto timesteps = test::numbers(file.at("timesteps"));
  const at::Tensor output = test::fixed({6, 3}, 7, 1.0, at::kFloat), target = test::fixed({6, 3}, 8, 1.0, at::kFloat);
  for (const auto& [name, expected] : file.at("losses").items()) {
    const size_t dot = name.find('.');
    DiffusionOptions options{.loss_type = name.substr(0, dot), .huber_c = 0.1, .huber_scale = 0.7};
    if (dot != std::string::npos) options.huber_schedule = name.substr(dot + 1);
    EXPECT_TRUE(test::close(loss_of(options).per_sample(output, target, timesteps), test::tensor_of(expected, {6}), 1e-6)) << name;
  }
}

TEST(DiffusionLoss, PartsOfABatchAddUp) {
  const DiffusionLoss loss = loss_of({.min_snr_gamma = 5});
  const at::Tensor output = test::fixed({4, 2, 3, 3}, 1), target = test::fixed({4, 2, 3, 3}, 2);
  const std::vector<double> timesteps{3, 500, 77, 999}, weights{1, 0.5, 2, 1};
  const at::Tensor each = loss.per_sample(output, target, timesteps);
  double expected = 0;
  for (size_t i = 0; i < 4; ++i) expected += weights[i] * loss.weight(timesteps[i]) * each[static_cast<int64_t>(i)].item<double>();
  const LossSum whole = loss.sum(output, target, timesteps, weights);
  double sum = 0, count = 0;
  for (const auto& [first, last] : {std::pair{0, 1}, std::pair{1, 4}}) {
    const auto size = static_cast<size_t>(last - first);
    const LossSum part =
        loss.sum(output.slice(0, first, last), target.slice(0, first, last), std::span(timesteps).subspan(static_cast<size_t>(first), size),
                 std::span(weights).subspan(static_cast<size_t>(first), size));
    sum += part.sum.item<double>();
    count += part.weight;
  }
  EXPECT_NEAR(whole.sum.item<double>(), expected, 1e-6);
  EXPECT_EQ(whole.weight, 4.0);
  EXPECT_EQ(count, 4.0);
  EXPECT_NEAR(whole.sum.item<double>(), sum, 1e-6);
}

TEST(DiffusionLoss, AMaskLeavesOutWhatItCovers) {
  const DiffusionLoss loss = loss_of({});
  const at::Tensor target = test::fixed({2, 2, 2, 2}, 2, 1.0, at::kFloat), mask = at::ones({2, 1, 2, 2});
  at::Tensor output = target.clone();
  output.index({0}).fill_(100);
  mask.index({0}).fill_(0);
  EXPECT_EQ(loss.per_sample(output, target, std::vector<double>{1, 2}, mask).sum().item<double>(), 0.0);
  EXPECT_GT(loss.per_sample(output, target, std::vector<double>{1, 2}).sum().item<double>(), 1000.0);
}

TEST(DiffusionLoss, WeightsStayFiniteWithoutSignal) {
  EXPECT_EQ(loss_of({.min_snr_gamma = 5}, Prediction::epsilon, true).weight(999), 1.0);
  EXPECT_EQ(loss_of({.min_snr_gamma = 5}, Prediction::v_prediction, true).weight(999), 0.0);
  EXPECT_LOWRANK_ERROR(loss_of({.weighting_scheme = "sigma_sqrt"}, Prediction::flow).weight(0), ErrorKind::invalid_argument,
                       "timestep 0 is not finite");
  EXPECT_LOWRANK_ERROR(loss_of({.debiased_estimation_loss = true}, Prediction::epsilon, true).weight(999), ErrorKind::invalid_argument,
                       "the weight of timestep 999 is not finite");
}

TEST(DiffusionLoss, OptionsThatMeanNothingForTheModelAreRefused) {
  EXPECT_LOWRANK_ERROR(loss_of({.min_snr_gamma = 5}, Prediction::flow), ErrorKind::invalid_argument,
                       "'min-snr-gamma' is for models of epsilon, v and sample");
  EXPECT_LOWRANK_ERROR(loss_of({.scale_v_pred_loss_like_noise_pred = true}), ErrorKind::invalid_argument,
                       "scale-v-pred-loss-like-noise-pred");
  EXPECT_LOWRANK_ERROR(loss_of({.v_pred_like_loss = 1}, Prediction::v_prediction), ErrorKind::invalid_argument, "v-pred-like-loss");
  EXPECT_LOWRANK_ERROR(loss_of({.weighting_scheme = "cosmap"}), ErrorKind::invalid_argument, "'weighting-scheme' is for flow models");
  EXPECT_LOWRANK_ERROR(loss_of({.loss_type = "huber"}, Prediction::flow), ErrorKind::invalid_argument, "huber-schedule snr");
}

TEST(DiffusionLoss, ShapesThatDoNotFitAreNamed) {
  const at::Tensor x = test::fixed({2, 3}, 1);
  EXPECT_LOWRANK_ERROR(loss_of({}).per_sample(x, x[0], std::vector<double>{1, 2}), ErrorKind::shape, "got [2, 3], [3] and 2");
  EXPECT_LOWRANK_ERROR(loss_of({}).sum(x, x, std::vector<double>{1, 2}, std::vector<double>{1}), ErrorKind::shape,
                       "one weight for each of 2 samples, got 1");
}

TEST(DiffusionOptions, ChangeTheModelsConfiguration) {
  const SchedulerConfig v = with_options(SchedulerConfig{}, DiffusionOptions{.prediction_type = "v_prediction", .zero_terminal_snr = true});
  EXPECT_EQ(v.prediction, Prediction::v_prediction);
  EXPECT_TRUE(v.zero_terminal_snr);
  EXPECT_LOWRANK_ERROR(with_options(SchedulerConfig{}, DiffusionOptions{.zero_terminal_snr = true}), ErrorKind::invalid_argument,
                       "expected a model of v_prediction or sample, got 'epsilon'");
}

TEST(SamplerOptions, ChangeTheSamplersConfiguration) {
  SamplerOptions options;
  OptionTable table;
  declare(table, options);
  table.apply({{"sampler", "dpmpp_2m"}, {"karras_sigmas", true}, {"timestep_spacing", "trailing"}}, "test");
  const SchedulerConfig config = with_options(SchedulerConfig{.sampler = options.sampler}, options);
  EXPECT_TRUE(config.karras);
  EXPECT_EQ(config.spacing, Spacing::trailing);
  EXPECT_LOWRANK_ERROR(with_options(config, SamplerOptions{.eta = 0.5}), ErrorKind::invalid_argument,
                       "is for ddim, but the sampler is 'dpmpp_2m'");
  EXPECT_LOWRANK_ERROR(table.apply({{"sampler", "dpmpp_3m"}}, "test"), ErrorKind::invalid_argument, "sampler");
}

TEST(DiffusionOptions, HaveKohyasNames) {
  DiffusionOptions options;
  OptionTable table;
  declare(table, options);
  table.apply({{"min_snr_gamma", 5.0}, {"noise_offset", 0.05}, {"ip_noise_gamma", 0.1}, {"huber_c", 0.2}, {"timestep_sampling", "sigmoid"}},
              "test");
  EXPECT_EQ(options.min_snr_gamma, 5.0);
  EXPECT_EQ(options.noise_offset, 0.05);
  EXPECT_EQ(options.timestep_sampling, "sigmoid");
  EXPECT_LOWRANK_ERROR(table.apply({{"snr_gama", 5}}, "test"), ErrorKind::invalid_argument, "snr_gama");
}

}  // namespace
}  // namespace lowrank::diffusion
