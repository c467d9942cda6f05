#include "lowrank/diffusion/validation.h"

#include <cmath>

#include "support/expect_close.h"
#include "support/expect_error.h"

namespace lowrank::diffusion {
namespace {

const std::vector<int64_t> kIds{4, 8, 15};

TEST(Validation, TimestepsAreFixedAndInTheirBand) {
  for (const Prediction prediction : {Prediction::epsilon, Prediction::flow}) {
    const NoiseSchedule schedule(SchedulerConfig{.prediction = prediction});
    for (int64_t band = 0; band < 4; ++band) {
      const auto timesteps = validation_timesteps(schedule, band, 4, 42, kIds);
      EXPECT_EQ(timesteps, validation_timesteps(schedule, band, 4, 42, kIds));
      for (const double t : timesteps)
        EXPECT_TRUE(t >= 250.0 * static_cast<double>(band) && t < 250.0 * static_cast<double>(band + 1)) << t;
    }
    EXPECT_EQ(validation_timesteps(schedule, 1, 4, 42, std::vector<int64_t>{15})[0], validation_timesteps(schedule, 1, 4, 42, kIds)[2]);
  }
}

TEST(Validation, NoiseIsFixedAndDiffersByBandAndSample) {
  const at::Tensor noise = validation_noise(1, 42, kIds, {2, 3});
  EXPECT_TRUE(at::equal(noise, validation_noise(1, 42, kIds, {2, 3})));
  EXPECT_FALSE(at::equal(noise, validation_noise(2, 42, kIds, {2, 3})));
  EXPECT_FALSE(at::equal(noise[0], noise[1]));
}

TEST(Validation, BandsCoverTheSchedule) {
  const NoiseSchedule schedule(SchedulerConfig{});
  EXPECT_EQ(timestep_band(schedule, 0, 3).low, 0);
  EXPECT_EQ(timestep_band(schedule, 0, 3).high, timestep_band(schedule, 1, 3).low);
  EXPECT_EQ(timestep_band(schedule, 2, 3).high, 1000);
  EXPECT_LOWRANK_ERROR(timestep_band(schedule, 3, 3), ErrorKind::invalid_argument, "expected a band below 3");
}

TEST(Validation, StandardErrorIsOverSamples) {
  BandedLoss losses(2);
  losses.add(1, 0, 1.0), losses.add(2, 0, 3.0), losses.add(1, 1, 5.0);
  EXPECT_EQ(losses.band(0).mean, 2.0);
  EXPECT_DOUBLE_EQ(*losses.band(0).standard_error, 1.0);  // s = √2, n = 2
  EXPECT_FALSE(losses.band(1).standard_error.has_value());
  EXPECT_LOWRANK_ERROR(losses.total(), ErrorKind::internal, "sample 2 has 1 of 2 bands");
  losses.add(2, 1, 5.0);
  EXPECT_EQ(losses.total().mean, 3.5);
  EXPECT_DOUBLE_EQ(*losses.total().standard_error, 0.5);
  EXPECT_EQ(losses.total().samples, 2);
  EXPECT_LOWRANK_ERROR(losses.add(2, 1, 5.0), ErrorKind::internal, "has a loss in band 1 already");
}

}  // namespace
}  // namespace lowrank::diffusion
