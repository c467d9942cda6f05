#include "lowrank/diffusion/noise_schedule.h"

#include "golden.h"
#include "support/expect_close.h"
#include "support/expect_error.h"
#include "support/fixed_init.h"

namespace lowrank::diffusion {
namespace {

TEST(NoiseSchedule, EqualsTheReference) {
  const Json golden = read_json(test::golden_file("training.json")).at("schedules");
  ASSERT_EQ(golden.size(), 8U);
  const at::Tensor clean = test::fixed({6, 3}, 5, 1.0, at::kFloat), noise = test::fixed({6, 3}, 6, 1.0, at::kFloat);
  for (const Json& one : golden) {
    SCOPED_TRACE(one.at("config").dump());
    const NoiseSchedule schedule(parse_scheduler_config(one.at("config"), "golden"));
    const auto timesteps = test::numbers(one.at("timesteps")), bars = test::numbers(one.at("alpha_bars")),
               ratios = test::numbers(one.at("snr"));
    for (size_t i = 0; i < timesteps.size(); ++i) {
      EXPECT_NEAR(schedule.alpha_bars()[static_cast<size_t>(timesteps[i])], bars[i], 1e-6 * bars[i]);
      // (α/σ)² in float32 loses digits where ᾱ is near 1; ours is in float64.
      EXPECT_NEAR(schedule.snr(timesteps[i]), ratios[i], 2e-6 * ratios[i]);
    }
    EXPECT_TRUE(test::close(add_noise(schedule, clean, noise, timesteps), test::tensor_of(one.at("noisy"), {6, 3}), 1e-6));
    EXPECT_TRUE(test::close(prediction_target(schedule, Prediction::v_prediction, clean, noise, timesteps),
                            test::tensor_of(one.at("velocity"), {6, 3}), 1e-6));
  }
}

TEST(NoiseSchedule, FlowIsAStraightLine) {
  const NoiseSchedule schedule(SchedulerConfig{.prediction = Prediction::flow});
  const at::Tensor clean = test::fixed({2, 3}, 1), noise = test::fixed({2, 3}, 2);
  const std::vector<double> timesteps{250.0, 1000.0};
  const at::Tensor noisy = add_noise(schedule, clean, noise, timesteps);
  EXPECT_TRUE(test::close(noisy[0], 0.75 * clean[0] + 0.25 * noise[0], 1e-12));
  EXPECT_TRUE(test::close(noisy[1], noise[1], 1e-12));
  EXPECT_TRUE(test::close(prediction_target(schedule, Prediction::flow, clean, noise, timesteps), noise - clean, 1e-12));
}

TEST(NoiseSchedule, OutputsMeanWhatTheirTargetsWereMadeOf) {
  const at::Tensor clean = test::fixed({1, 4}, 1), noise = test::fixed({1, 4}, 2);
  for (const Prediction prediction : {Prediction::epsilon, Prediction::v_prediction, Prediction::sample, Prediction::flow}) {
    const NoiseSchedule schedule(SchedulerConfig{.prediction = prediction});
    const std::vector<double> t{400};
    const at::Tensor x = add_noise(schedule, clean, noise, t), output = prediction_target(schedule, prediction, clean, noise, t);
    EXPECT_TRUE(test::close(predicted_clean(prediction, schedule.alpha(400), schedule.sigma(400), x, output), clean, 1e-10));
    EXPECT_TRUE(test::close(predicted_noise(prediction, schedule.alpha(400), schedule.sigma(400), x, output), noise, 1e-10));
  }
}

TEST(NoiseSchedule, ZeroTerminalSnrEndsWithoutSignal) {
  const NoiseSchedule schedule(SchedulerConfig{.zero_terminal_snr = true});
  EXPECT_EQ(schedule.snr(999), 0.0);
  EXPECT_GT(schedule.snr(998), 0.0);
}

TEST(NoiseSchedule, RefusesWhatDoesNotFit) {
  const NoiseSchedule schedule(SchedulerConfig{});
  const at::Tensor x = test::fixed({2, 3}, 1);
  EXPECT_LOWRANK_ERROR(schedule.alpha(1000), ErrorKind::invalid_argument, "expected a whole timestep from 0 to 999, got 1000");
  EXPECT_LOWRANK_ERROR(schedule.alpha(0.5), ErrorKind::invalid_argument, "got 0.5");
  EXPECT_LOWRANK_ERROR(add_noise(schedule, x, x[0], std::vector<double>{1, 2}), ErrorKind::shape,
                       "expected noise of the samples' shape [2, 3], got [3]");
  EXPECT_LOWRANK_ERROR(add_noise(schedule, x, x, std::vector<double>{1}), ErrorKind::shape, "one timestep for each of 2 samples, got 1");
  EXPECT_LOWRANK_ERROR(NoiseSchedule(SchedulerConfig{.prediction = Prediction::flow}).sigma(1001), ErrorKind::invalid_argument, "got 1001");
}

}  // namespace
}  // namespace lowrank::diffusion
