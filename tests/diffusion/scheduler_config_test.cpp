#include "lowrank/diffusion/scheduler_config.h"

#include "golden.h"
#include "support/expect_error.h"

#include "lowrank/base/log.h"
#include "lowrank/diffusion/sampler.h"

namespace lowrank::diffusion {
namespace {

struct Read {
  SchedulerConfig config;
  std::string warnings;
};

Read read(const Json& json, std::string_view sampler = "") {
  Read result;
  set_log_sink([&](LogLevel level, std::string_view, std::string_view text) {
    if (level == LogLevel::warning) result.warnings += std::string(text) + "\n";
  });
  try {
    result.config = parse_scheduler_config(json, "scheduler_config.json", sampler);
  } catch (...) {
    set_log_sink({});
    throw;
  }
  set_log_sink({});
  return result;
}

Json class_of(const std::string& name, const Json& more = Json::object()) {
  Json json = {{"_class_name", name}, {"_diffusers_version", "0.42.1"}};
  json.update(more);
  return json;
}

class FullFile : public testing::TestWithParam<const SamplerKind*> {};
INSTANTIATE_TEST_SUITE_P(Table, FullFile, testing::ValuesIn(sampler_kinds().begin(), sampler_kinds().end()),
                         [](const auto& info) { return std::string(info.param->name); });

TEST_P(FullFile, AsTheReferenceWritesItMeansTheClassDefaults) {
  const SchedulerConfig config = read_scheduler_config(test::golden_file(std::string(GetParam()->diffusers_class) + ".json"));
  const SchedulerConfig& defaults = GetParam()->defaults;
  EXPECT_EQ(config.sampler, GetParam()->name);
  EXPECT_EQ(config.prediction, defaults.prediction);
  EXPECT_EQ(config.spacing, defaults.spacing);
  EXPECT_EQ(config.clip_sample, defaults.clip_sample);
  EXPECT_EQ(config.beta_end, defaults.beta_end);
  EXPECT_EQ(config.lambda_min_clipped, defaults.lambda_min_clipped);
  EXPECT_EQ(config.final_sigma_zero, defaults.final_sigma_zero);
  EXPECT_EQ(config.lower_order_final, defaults.lower_order_final);
  EXPECT_EQ(make_sampler(config, 7)->timesteps().size(), 7U);
}

// The files of Stable Diffusion 1.5 and SDXL, which carry keys of other classes.
const Json kSd15 = class_of("PNDMScheduler", {{"beta_end", 0.012},
                                              {"beta_schedule", "scaled_linear"},
                                              {"beta_start", 0.00085},
                                              {"num_train_timesteps", 1000},
                                              {"set_alpha_to_one", false},
                                              {"skip_prk_steps", true},
                                              {"steps_offset", 1},
                                              {"trained_betas", nullptr},
                                              {"clip_sample", false}});
const Json kSdxl = class_of("EulerDiscreteScheduler", {{"beta_end", 0.012},
                                                       {"beta_schedule", "scaled_linear"},
                                                       {"beta_start", 0.00085},
                                                       {"clip_sample", false},
                                                       {"interpolation_type", "linear"},
                                                       {"num_train_timesteps", 1000},
                                                       {"prediction_type", "epsilon"},
                                                       {"sample_max_value", 1.0},
                                                       {"set_alpha_to_one", false},
                                                       {"skip_prk_steps", true},
                                                       {"steps_offset", 1},
                                                       {"timestep_spacing", "leading"},
                                                       {"trained_betas", nullptr},
                                                       {"use_karras_sigmas", false}});

TEST(SchedulerConfig, StableDiffusion15SaysThatDdimTakesThePlaceOfPndm) {
  const Read sd = read(kSd15);
  EXPECT_EQ(sd.config.sampler, "ddim");
  EXPECT_EQ(sd.config.beta_schedule, "scaled_linear");
  EXPECT_EQ(sd.config.steps_offset, 1);
  EXPECT_FALSE(sd.config.alpha_to_one);
  EXPECT_FALSE(sd.config.clip_sample);
  EXPECT_THAT(sd.warnings, testing::HasSubstr("PNDMScheduler is not built; DDIM is used in its place"));
  EXPECT_EQ(make_sampler(sd.config, 4)->timesteps(), (std::vector<double>{751, 501, 251, 1}));
}

TEST(SchedulerConfig, PndmHasItsOwnDefaults) {
  const SchedulerConfig config = read(class_of("PNDMScheduler")).config;
  EXPECT_FALSE(config.alpha_to_one);
  EXPECT_FALSE(config.clip_sample);
}

TEST(SchedulerConfig, SdxlIsReadWithoutAWarning) {
  const Read sdxl = read(kSdxl);
  EXPECT_EQ(sdxl.config.sampler, "euler");
  EXPECT_EQ(sdxl.config.spacing, Spacing::leading);
  EXPECT_EQ(sdxl.warnings, "");
}

TEST(SchedulerConfig, AnotherSamplerKeepsTheModelAndHasItsOwnDefaults) {
  EXPECT_EQ(read(kSd15, "dpmpp_2m").config.spacing, Spacing::linspace);
  EXPECT_EQ(read(kSd15, "dpmpp_2m").config.beta_end, 0.012);
  EXPECT_EQ(read(kSd15, "dpmpp_2m").warnings, "");
  EXPECT_FALSE(read(class_of("EulerDiscreteScheduler"), "ddim").config.clip_sample) << "clipping ruins latents";
  EXPECT_TRUE(read(class_of("DDIMScheduler"), "ddim").config.clip_sample);
  const Read flow = read(class_of("FlowMatchEulerDiscreteScheduler", {{"shift", 3.0}}), "dpmpp_2m");
  EXPECT_EQ(flow.config.prediction, Prediction::flow);
  EXPECT_EQ(flow.config.shift, 3.0);
  EXPECT_EQ(make_sampler(flow.config, 5)->sigmas().back(), 0.0);
}

TEST(SchedulerConfig, ASwitchThatTheSamplerLacksIsNamed) {
  const Read read_with = read(class_of("EulerDiscreteScheduler", {{"use_karras_sigmas", true}}), "ddim");
  EXPECT_THAT(read_with.warnings, testing::HasSubstr("the sampler 'ddim' has no use_karras_sigmas; the file's setting changes nothing"));
  EXPECT_FALSE(read_with.config.karras);
}

TEST(SchedulerConfig, UnknownKeysAreRefusedUnlessTheyAskForNothing) {
  EXPECT_LOWRANK_ERROR(read(class_of("DDIMScheduler", {{"clip_samples", true}})), ErrorKind::file_format,
                       "key 'clip_samples' is not known, did you mean 'clip_sample'");
  EXPECT_EQ(read(class_of("DDIMScheduler", {{"use_new_thing", false}, {"other", nullptr}})).config.sampler, "ddim");
}

TEST(SchedulerConfig, ValuesThatAreNotHonouredAreRefusedByName) {
  const auto refused = [](const std::string& name, const Json& more, const std::string& part) {
    EXPECT_LOWRANK_ERROR(read(class_of(name, more)), ErrorKind::unsupported, part);
  };
  refused("DDIMScheduler", {{"thresholding", true}}, "key 'thresholding': expected none, got true");
  refused("DDPMScheduler", {{"variance_type", "learned_range"}},
          "key 'variance_type': expected one of fixed_small, fixed_large, got \"learned_range\"");
  refused("EulerDiscreteScheduler", {{"use_exponential_sigmas", true}}, "key 'use_exponential_sigmas'");
  refused("EulerDiscreteScheduler", {{"interpolation_type", "log_linear"}}, "key 'interpolation_type'");
  refused("EulerDiscreteScheduler", {{"timestep_spacing", "odd"}}, "key 'timestep_spacing': expected one of leading, linspace, trailing");
  refused("DPMSolverMultistepScheduler", {{"algorithm_type", "sde-dpmsolver++"}}, "key 'algorithm_type': expected \"dpmsolver++\"");
  refused("DPMSolverMultistepScheduler", {{"solver_order", 3}}, "key 'solver_order': expected 2, got 3");
  refused("DPMSolverMultistepScheduler", {{"prediction_type", "flow_prediction"}}, "expected 'use_flow_sigmas' where");
  refused("FlowMatchEulerDiscreteScheduler", {{"use_dynamic_shifting", true}}, "key 'use_dynamic_shifting'");
  refused("HeunDiscreteScheduler", Json::object(), "got 'HeunDiscreteScheduler'");
}

TEST(SchedulerConfig, WrongTypesAndImpossibleNumbersAreNamedTogether) {
  EXPECT_LOWRANK_ERROR(read(class_of("DDIMScheduler", {{"num_train_timesteps", "many"}, {"clip_sample", 1}})), ErrorKind::file_format,
                       "key 'clip_sample' has an unexpected type: 1");
  EXPECT_LOWRANK_ERROR(read(class_of("DDIMScheduler", {{"beta_end", 1.5}, {"beta_schedule", "laplace"}})), ErrorKind::invalid_argument,
                       "beta_schedule: expected one of linear, scaled_linear, squaredcos_cap_v2, got 'laplace'");
  EXPECT_LOWRANK_ERROR(read(class_of("DDIMScheduler", {{"trained_betas", {0.1, 0.2}}})), ErrorKind::invalid_argument,
                       "trained_betas: expected num_train_timesteps (1000) numbers, got 2");
  EXPECT_LOWRANK_ERROR(read(Json::array()), ErrorKind::file_format, "expected an object of scheduler settings");
}

TEST(SchedulerConfig, ASamplerThatCannotRunTheModelIsRefused) {
  EXPECT_LOWRANK_ERROR(read(class_of("FlowMatchEulerDiscreteScheduler"), "euler"), ErrorKind::invalid_argument,
                       "the sampler 'euler' cannot run a model that predicts 'flow_prediction'");
  EXPECT_LOWRANK_ERROR(read(kSd15, "flow_euler"), ErrorKind::unsupported, "use_flow_sigmas");
}

}  // namespace
}  // namespace lowrank::diffusion
