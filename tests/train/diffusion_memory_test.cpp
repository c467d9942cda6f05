// The memory plan of image training counts what is held in each phase, and takes the most.
#include "support/expect_error.h"
#include "train/diffusion_run.h"

namespace lowrank::train {

namespace {

class DiffusionMemory : public test::DiffusionRun {
 protected:
  DiffusionMemory() {
    model_ = folder_ / "words";
    test::save_tiny_model(model_, "sd15");
  }
  DiffusionRequest wanted(const std::string& method = "lora") {
    auto wanted = request("", method);
    wanted.tokens = {load_clip_tokens(model_ / "tokenizer")};
    return wanted;
  }
  MemoryPlan plan(const DiffusionRequest& request) {
    DiffusionJob job(request);
    return plan_memory(job);
  }
};

const MemoryPhase& phase(const MemoryPlan& plan, const std::string& name) {
  return *std::ranges::find(plan.phases, name, &MemoryPhase::name);
}

int64_t bytes(const torch::nn::Module& module, const std::string& prefix = "") {
  int64_t bytes = 0;
  for (const auto& parameter : module.named_parameters()) {
    if (parameter.key().starts_with(prefix)) bytes += static_cast<int64_t>(parameter.value().nbytes());
  }
  return bytes;
}

TEST_F(DiffusionMemory, LetsGoOfWhatAPhaseDoesNotNeed) {
  const auto pipeline = models::load_pipeline(model_, at::kFloat);
  const int64_t vae = bytes(*pipeline.vae), text = bytes(*pipeline.text_encoder);
  auto request = wanted();
  EXPECT_EQ(phase(plan(request), "training").released, vae + text);
  EXPECT_EQ(phase(plan(request), "encoding pictures").released, 0);

  request.diffusion.samples.prompts = {"disc"};
  const int64_t encoder = bytes(*pipeline.vae, "encoder.") + bytes(*pipeline.vae, "quant_conv.");
  EXPECT_EQ(phase(plan(request), "training").released, encoder + text);
  EXPECT_EQ(phase(plan(request), "sampling").released, encoder + text);
  request.diffusion.pictures.caption.shuffle = true;  // captions that are ever new need their encoder
  EXPECT_EQ(phase(plan(request), "sampling").released, encoder);
  EXPECT_EQ(phase(plan(wanted("full")), "training").released, 0);
  EXPECT_EQ(plan(wanted("full")).released, 0);
}

TEST_F(DiffusionMemory, TakesThePhaseThatNeedsMost) {
  auto request = wanted();
  request.diffusion.samples.prompts = {"disc"};
  const MemoryPlan small = plan(request);
  EXPECT_NE(small.phases.front().name, "sampling");
  request.diffusion.samples.size = "128";
  const MemoryPlan large = plan(request);
  EXPECT_EQ(large.phases.front().name, "sampling");
  EXPECT_EQ(large.activations, phase(large, "sampling").activations);
  EXPECT_GT(large.activations, 8 * phase(large, "training").activations);
  EXPECT_EQ(large.to_json().at("phases").at("sampling"), large.peak());
  EXPECT_LOWRANK_ERROR(require_memory(large, large.activations / 2, request.options), ErrorKind::out_of_memory, "--sample-size");
}

TEST_F(DiffusionMemory, ForeseesWhatSamplingTakes) {
  auto request = wanted();
  request.out = folder_ / "run";
  request.diffusion.samples = {.prompts = {"disc"}, .steps = 3, .size = "64"};
  DiffusionJob job(request);
  const int64_t planned = phase(plan_memory(job), "sampling").activations;
  job.prepare({});
  const at::NoGradGuard no_grad;
  const int64_t taken = peak_allocation(test::test_device(), [&] { job.draw_samples(0, false, nullptr, {}); });
  EXPECT_NEAR(static_cast<double>(planned) / static_cast<double>(taken), 1, 0.1);
}

}  // namespace

}  // namespace lowrank::train
