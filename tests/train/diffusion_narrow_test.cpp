// Image training in bfloat16 with an average of the weights: adapters and the whole UNet, validated on pictures of their own.
#include "support/expect_close.h"
#include "train/diffusion_run.h"

namespace lowrank::train {

namespace {

class NarrowDiffusion : public test::DiffusionRun {
 protected:
  NarrowDiffusion() {
    test::write_tiny_pictures(folder_ / "held_out", 4, 100);
    auto options = request_pictures_;
    options.images = (folder_ / "held_out").string();
    validation_ = data::read_image_set(options);
  }
  DiffusionRequest wanted(const std::string& out, const std::string& method) {
    auto wanted = request(out, method);
    wanted.options.dtype = "bfloat16";
    wanted.options.ema = 0.9;
    wanted.options.max_steps = 4;
    wanted.options.best_by = "loss";
    wanted.diffusion.validation_bands = 1;
    wanted.diffusion.validation_images = (folder_ / "held_out").string();
    wanted.validation = &validation_;
    return wanted;
  }

  static TrainOptions constant(TrainOptions options, double rate, int64_t steps) {
    options.learning_rate = rate;
    options.schedule = "constant";
    options.warmup_fraction = 0;
    options.max_steps = steps;
    return options;
  }

  data::ImageSet validation_;
};

TEST_F(NarrowDiffusion, ValidatesAndSavesTheAverage) {
  for (const char* method : {"dora", "full"}) {
    auto averaged = wanted(method + std::string("-run"), method);
    const RunResult result = train(averaged);
    ASSERT_EQ(result.validations.size(), 1) << method;
    EXPECT_EQ(result.outcome, Outcome::finished);
    for (const auto& one : result.validations) EXPECT_TRUE(std::isfinite(one.loss)) << method;
    EXPECT_EQ(read_json(averaged.out / "lowrank.json").at("held_out").size(), 4);
    EXPECT_EQ(read_json(averaged.out / "lowrank.json").at("result").at("steps"), 4);
  }
}

TEST_F(NarrowDiffusion, AResumedRunLeavesTheSameBytes) {
  const auto file = [](const DiffusionRequest& request) {
    return read_file(request.out / "model/unet/diffusion_pytorch_model.safetensors");
  };
  const auto whole = wanted("whole", "full");
  train(whole);
  StopToken stop;
  auto first = wanted("halves", "full");
  first.stop = &stop;
  first.metrics = [&](const Json& line) {
    if (line["event"] == "step" && line["step"] == 2) stop.request();
  };
  EXPECT_EQ(train(first).outcome, Outcome::cancelled);
  auto second = wanted("halves", "full");
  second.resume = true;
  train(second);
  EXPECT_EQ(file(second), file(whole));
}

TEST_F(NarrowDiffusion, TheWholeUNetLearnsBelowBfloat16sStep) {
  auto slow = wanted("slow", "full");
  slow.options = constant(slow.options, 2e-4, 12);
  slow.options.ema = 0;
  const auto before = models::load_pipeline(model_, at::kBFloat16), after = models::load_pipeline(train(slow).saved, at::kBFloat16);
  double moved = 0, count = 0;
  for (const auto& entry : before.unet->named_parameters()) {
    // An update of 2e-4 is less than half of what bfloat16 tells apart here: the float32 original adds them up.
    const at::Tensor size = entry.value().abs(), counted = (size >= 0.25).logical_and(size < 0.5);
    moved += (entry.value() != after.unet->named_parameters()[entry.key()]).logical_and(counted).sum().item<double>();
    count += counted.sum().item<double>();
  }
  EXPECT_GT(count, 1000);
  EXPECT_GT(moved / count, 0.4);
}

TEST_F(NarrowDiffusion, TheAverageIsTakenInFloat32) {
  const auto weights = [&](double ema, int64_t steps) {
    auto wanted = this->wanted(fmt::format("{}-{}", ema, steps), "full");
    wanted.options = constant(wanted.options, 0.05, steps);
    wanted.options.ema = ema;
    wanted.validation = nullptr;
    wanted.diffusion.validation_images.clear();
    wanted.diffusion.validation_fraction = 0;
    return models::load_pipeline(train(wanted).saved, at::kFloat).unet->named_parameters();
  };
  const auto first = weights(0, 1), second = weights(0, 2), average = weights(0.9, 2);
  for (const auto& entry : average) {
    const at::Tensor expected = 0.25 * first[entry.key()] + 0.75 * second[entry.key()];  // decay (1 + 2)/(10 + 2); rounded thrice
    EXPECT_TRUE(test::close(entry.value(), expected, 0.008)) << entry.key();
  }
}

}  // namespace

}  // namespace lowrank::train
