// One training step against diffusers' loop with PEFT's LoRA: tools/golden/diffusion_training.py.
#include <gtest/gtest.h>

#include "support/temp_dir.h"
#include "train/tiny_pipeline.h"

#include "lowrank/adapters/attach.h"
#include "lowrank/train/diffusion/picture_batch.h"

namespace lowrank::train {

namespace {

Json golden_unet(const std::string& kind) {
  return read_json(std::filesystem::path(LOWRANK_SOURCE_DIR) / "tests/golden/diffusion" / ("unet_" + kind + ".json"));
}

struct Step {
  const char *name, *kind, *prediction;
  double gamma;
};

class DiffusionStep : public ::testing::TestWithParam<Step> {};

/// LoRA tensors by formula, in the order of PEFT's names.
std::map<std::string, at::Tensor> fill_lora(const adapters::AdapterSet& set) {
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> named;
  for (const auto& [name, tensor] : set.parameters()) named.emplace(name, tensor);
  uint32_t salt = 2000;
  for (auto& [name, tensor] : named) tensor.copy_(test::fixed(tensor.sizes(), salt++, 0.5));
  for (auto& [name, tensor] : named) tensor.set_requires_grad(true);
  return named;
}

PictureBatch golden_batch(const models::UNet2DConditionModel& unet) {
  PictureBatch batch{.ids = {0, 1}, .clean = test::fixed({2, 4, 8, 8}, 1500, 1.5, at::kFloat), .weights = {1, 1}};
  batch.text.states = test::fixed({2, 9, unet.json()["cross_attention_dim"].get<int64_t>()}, 1502, 1, at::kFloat);
  if (unet.config().added_width == 0) return batch;
  batch.text.pooled = test::fixed({2, 16}, 1503, 1, at::kFloat);
  batch.time_ids = at::tensor({16., 20., 0., 2., 16., 16., 40., 30., 5., 0., 16., 16.}, at::kFloat).view({2, 6});
  return batch;
}

TEST_P(DiffusionStep, HasDiffusersLossAndGradients) {
  const auto& [name, kind, prediction, gamma] = GetParam();
  models::UNet2DConditionModel unet(golden_unet(kind), kind);
  test::fill_fixed(unet);
  for (auto& parameter : unet.parameters()) parameter.set_requires_grad(false);
  adapters::AdapterConfig config = adapters::make_config("lora");
  config.rank = 2;
  config.alpha = 3;
  config.target_modules = {"to_q", "to_k", "to_v", "to_out.0"};
  const auto named = fill_lora(adapters::attach(unet, config, {}));

  diffusion::DiffusionOptions options{.min_snr_gamma = gamma};
  diffusion::SchedulerConfig scheduler{.beta_schedule = "scaled_linear", .beta_start = 0.00085, .beta_end = 0.012};
  scheduler.prediction = diffusion::parse_prediction(prediction);
  const diffusion::DiffusionLoss objective(diffusion::NoiseSchedule(scheduler), scheduler.prediction, options);
  const at::Tensor noise = test::fixed({2, 4, 8, 8}, 1501, 1.7, at::kFloat);
  const std::vector<double> timesteps{15, 740};
  for (const bool recompute : {false, true}) {
    unet.set_recompute(recompute);
    for (const auto& [key, tensor] : named) tensor.mutable_grad() = at::Tensor();
    const auto [sum, weight] = denoising_loss(unet, objective, golden_batch(unet), {noise, noise}, timesteps);
    const at::Tensor loss = sum / weight;
    loss.backward();
    auto expected = tensor::load_tensors(std::filesystem::path(LOWRANK_SOURCE_DIR) / "tests/golden/diffusion/lora_step.safetensors");
    const auto take = [&](const std::string& key) { return expected.at(std::string(name) + "/" + key); };
    const double golden = take("loss").item<double>();
    EXPECT_NEAR(loss.item<double>(), golden, 1e-5 * golden);
    for (const auto& [key, tensor] : named) {
      const at::Tensor gradient = take(key);
      ASSERT_TRUE(tensor.grad().defined()) << key;
      EXPECT_LT((tensor.grad() - gradient).norm().item<double>(), 1e-4 * gradient.norm().item<double>()) << key;
    }
    EXPECT_EQ(named.size() + 1,
              std::ranges::count_if(expected, [&](const auto& entry) { return entry.first.starts_with(std::string(name) + "/"); }));
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, DiffusionStep,
                         ::testing::Values(Step{"sd15", "sd15", "epsilon", 0}, Step{"sd15_v_snr", "sd15", "v_prediction", 5},
                                           Step{"sdxl_snr", "sdxl", "epsilon", 5}),
                         [](const auto& i) { return std::string(i.param.name); });

}  // namespace

}  // namespace lowrank::train
