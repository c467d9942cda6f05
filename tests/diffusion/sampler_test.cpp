#include "lowrank/diffusion/sampler.h"

#include <ATen/ops/sin.h>
#include <cmath>

#include "golden.h"
#include "support/expect_close.h"
#include "support/expect_error.h"
#include "support/fixed_init.h"

namespace lowrank::diffusion {
namespace {

const std::vector<int64_t> kShape{1, 2, 2, 3};

at::Tensor unit_noise(uint32_t salt, c10::ScalarType dtype = at::kFloat) { return test::fixed(kShape, salt, std::sqrt(3.0), dtype); }

std::string name_of(const testing::TestParamInfo<const SamplerKind*>& info) { return std::string(info.param->name); }

class EverySampler : public testing::TestWithParam<const SamplerKind*> {};
INSTANTIATE_TEST_SUITE_P(Table, EverySampler, testing::ValuesIn(sampler_kinds().begin(), sampler_kinds().end()), name_of);

// Both compute in float32. Largest error seen: 1.4e-5 for Euler ancestral, whose reference takes √(σ'² − σ_up²) in float32.
constexpr double kTrajectory = 2e-5;

void expect_golden_case(const Json& golden) {
  SchedulerConfig config = parse_scheduler_config(golden.at("config"), "golden");
  config.eta = golden.value("eta", 0.0);
  const auto sampler = make_sampler(config, golden.at("steps"));

  const auto timesteps = test::numbers(golden.at("timesteps"));
  ASSERT_EQ(sampler->timesteps().size(), timesteps.size());
  for (size_t i = 0; i < timesteps.size(); ++i) {
    // Whole ones are the same; Karras' and flow's go through logarithms and powers in the last float32 digit.
    const double slack = timesteps[i] == std::floor(timesteps[i]) ? 0 : 1e-6 * std::max(1.0, timesteps[i]);
    EXPECT_NEAR(sampler->timesteps()[i], timesteps[i], slack) << "timestep of step " << i;
  }
  if (!sampler->sigmas().empty()) {
    const auto sigmas = test::numbers(golden.at("sigmas"));
    ASSERT_EQ(sampler->sigmas().size(), sigmas.size());
    for (size_t i = 0; i < sigmas.size(); ++i) EXPECT_NEAR(sampler->sigmas()[i], sigmas[i], 1e-6 * sigmas[i]) << "sigma of step " << i;
  }
  const double scale = golden.at("initial_scale");
  EXPECT_NEAR(sampler->initial_scale(), scale, 1e-6 * scale);

  at::Tensor sample = unit_noise(1) * scale;
  History history;
  for (int64_t i = 0; i < golden.at("steps"); ++i) {
    const at::Tensor output = at::sin(1.3 * sampler->model_input(sample, i) + sampler->timesteps()[static_cast<size_t>(i)] / 1000);
    sample = sampler->step(output, i, sample, unit_noise(static_cast<uint32_t>(100 + i)), history);
    const auto expected = golden.at("samples").find(std::to_string(i));
    if (expected == golden.at("samples").end()) continue;
    EXPECT_TRUE(test::close(sample, test::tensor_of(*expected, kShape), kTrajectory)) << "after step " << i;
  }
}

TEST_P(EverySampler, FollowsTheReference) {
  const Json golden = read_json(test::golden_file(std::string(GetParam()->name) + ".json"));
  ASSERT_GE(golden.at("cases").size(), 10U);
  for (const Json& one : golden.at("cases")) {
    SCOPED_TRACE(fmt::format("{} steps of {}", one.at("steps").get<int>(), one.at("config").dump().substr(0, 400)));
    expect_golden_case(one);
  }
}

/// What a model that knows the one clean sample answers to x = α·clean + σ·n.
at::Tensor oracle(Prediction prediction, double alpha, double sigma, const at::Tensor& x, const at::Tensor& clean) {
  const at::Tensor noise = (x - alpha * clean) / sigma;
  switch (prediction) {
    case Prediction::epsilon: return noise;
    case Prediction::v_prediction: return alpha * noise - sigma * clean;
    case Prediction::sample: return clean;
    case Prediction::flow: return noise - clean;
  }
  return {};
}

TEST_P(EverySampler, EndsAtTheSampleThatAPerfectModelKnows) {
  const at::Tensor clean = test::fixed(kShape, 9);
  for (const Prediction prediction : GetParam()->predictions) {
    SCOPED_TRACE(std::string(to_string(prediction)));
    SchedulerConfig config = GetParam()->defaults;
    config.prediction = prediction;
    const auto sampler = make_sampler(config, 12);
    at::Tensor sample = unit_noise(1, at::kDouble) * sampler->initial_scale();
    History history;
    for (int64_t i = 0; i < 12; ++i) {
      double alpha = 0, sigma = 0;
      if (sampler->sigmas().empty()) {
        const NoiseSchedule schedule(config);
        const double t = sampler->timesteps()[static_cast<size_t>(i)];
        alpha = schedule.alpha(t), sigma = schedule.sigma(t);
      } else {
        const double level = sampler->sigmas()[static_cast<size_t>(i)];
        alpha = config.is_flow() ? 1 - level : 1 / std::hypot(level, 1.0);
        sigma = config.is_flow() ? level : level * alpha;
      }
      const at::Tensor output = oracle(prediction, alpha, sigma, sampler->model_input(sample, i), clean);
      sample = sampler->step(output, i, sample, unit_noise(static_cast<uint32_t>(100 + i), at::kDouble), history);
    }
    EXPECT_TRUE(test::close(sample, clean, 1e-9));
  }
}

TEST_P(EverySampler, TreatsEachSampleOfABatchAlone) {
  const auto sampler = make_sampler(GetParam()->defaults, 5);
  const auto run = [&](int64_t first, int64_t last) {
    at::Tensor sample = test::fixed({3, 2, 2, 3}, 1, 1.0, at::kFloat).slice(0, first, last) * sampler->initial_scale();
    History history;
    for (int64_t i = 0; i < 5; ++i) {
      const at::Tensor noise = test::fixed({3, 2, 2, 3}, static_cast<uint32_t>(50 + i), 1.0, at::kFloat).slice(0, first, last);
      sample = sampler->step(at::sin(sampler->model_input(sample, i)), i, sample, noise, history);
    }
    return sample;
  };
  EXPECT_TRUE(at::equal(run(0, 3).slice(0, 1, 2), run(1, 2)));
}

TEST_P(EverySampler, WritesToNoInputAndTakesNarrowOutputs) {
  const auto sampler = make_sampler(GetParam()->defaults, 5);
  const at::Tensor sample = unit_noise(1), output = unit_noise(2).to(at::kBFloat16), noise = unit_noise(3);
  const at::Tensor before = sample.clone();
  History history;
  const at::Tensor next = sampler->step(output, 0, sample, noise, history);
  EXPECT_EQ(next.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(sample, before));
  EXPECT_TRUE(at::equal(output, unit_noise(2).to(at::kBFloat16)));
  EXPECT_TRUE(at::equal(noise, unit_noise(3)));
  EXPECT_FALSE(at::equal(next, sample));
}

TEST(Sampler, RefusesWhatDoesNotFit) {
  SchedulerConfig config{.sampler = "euler_ancestral"};
  EXPECT_LOWRANK_ERROR(make_sampler(config, 0), ErrorKind::invalid_argument, "expected 1 to 1000 steps, got 0");
  EXPECT_LOWRANK_ERROR(make_sampler(config, 1001), ErrorKind::invalid_argument, "expected 1 to 1000 steps, got 1001");
  const auto sampler = make_sampler(config, 4);
  const at::Tensor sample = unit_noise(1);
  History history;
  EXPECT_LOWRANK_ERROR(sampler->step(sample, 4, sample, sample, history), ErrorKind::invalid_argument,
                       "expected a step from 0 to 3, got 4");
  EXPECT_LOWRANK_ERROR(sampler->step(sample, 0, sample, {}, history), ErrorKind::shape,
                       "expected noise of the sample's shape [1, 2, 2, 3], got none");
  EXPECT_LOWRANK_ERROR(sampler->step(sample.repeat({1, 2, 1, 1}), 0, sample, sample, history), ErrorKind::shape, "got [1, 4, 2, 3]");
  EXPECT_LOWRANK_ERROR(sampler->step(sample, 0, sample.to(at::kHalf), sample, history), ErrorKind::invalid_argument,
                       "expected samples in float32");
}

TEST(Sampler, RefusesSwitchesThatItDoesNotHave) {
  EXPECT_LOWRANK_ERROR(make_sampler({.sampler = "ddim", .karras = true}, 4), ErrorKind::invalid_argument, "[ddim] has no Karras sigmas");
  EXPECT_LOWRANK_ERROR(make_sampler({.sampler = "euler", .clip_sample = true}, 4), ErrorKind::invalid_argument, "cannot clip");
  EXPECT_LOWRANK_ERROR(make_sampler({.sampler = "ddim", .prediction = Prediction::flow}, 4), ErrorKind::invalid_argument,
                       "cannot run a model that predicts 'flow_prediction'");
  EXPECT_LOWRANK_ERROR(make_sampler({.sampler = "eular"}, 4), ErrorKind::invalid_argument, "did you mean 'euler'");
  EXPECT_LOWRANK_ERROR(make_sampler({.sampler = "ddim", .eta = 1.5}, 4), ErrorKind::invalid_argument, "eta: expected 0 to 1, got 1.5");
  EXPECT_LOWRANK_ERROR(make_sampler({.sampler = "euler", .steps_offset = 5}, 1000), ErrorKind::invalid_argument, "'steps_offset' is 5");
}

TEST(Sampler, RefusesAnEpsilonModelWhereNoSignalIsLeft) {
  const SchedulerConfig config{.sampler = "ddim", .zero_terminal_snr = true, .spacing = Spacing::trailing};
  EXPECT_LOWRANK_ERROR(make_sampler(config, 4), ErrorKind::invalid_argument, "timestep 999, where zero terminal SNR leaves no signal");
}

}  // namespace
}  // namespace lowrank::diffusion
