// Training the autoencoder of a tiny Stable Diffusion model: the loss by its formula, exact accumulation, bit-exact resume, what is saved.
#include "lowrank/train/diffusion/autoencoder_job.h"

#include <gtest/gtest.h>

#include "support/expect_close.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"
#include "train/tiny_pipeline.h"

#include "lowrank/train/trainer.h"

namespace lowrank::train {

namespace {

namespace fs = std::filesystem;

class AutoencoderTraining : public ::testing::Test {
 protected:
  AutoencoderTraining() {
    models::save_diffusers(folder_ / "model", test::tiny_pipeline("sd15"));
    test::write_tiny_pictures(folder_ / "pictures", 10);
    pictures_ = test::tiny_picture_options(folder_ / "pictures");
    set_ = data::read_image_set(pictures_);
  }

  AutoencoderRequest request(const std::string& out) {
    AutoencoderRequest request;
    request.options = {.learning_rate = 2e-3, .epochs = 2, .batch_size = 2, .dtype = "float32", .device = test::test_device_name()};
    request.options.best_by = "loss";
    request.out = out.empty() ? fs::path() : folder_ / out;
    request.model = folder_ / "model";
    request.autoencoder.pictures = pictures_;
    request.autoencoder.kl_weight = 1e-3;
    request.pictures = &set_;
    return request;
  }
  RunResult train(const AutoencoderRequest& request) {
    const auto folder = open_folder(request);
    AutoencoderJob job(request);
    return run(job, request, folder.get());
  }
  tensor::TensorMap weights(const fs::path& model, const std::string& component) {
    return tensor::load_tensors(model / component /
                                (component == "text_encoder" ? "model.safetensors" : "diffusion_pytorch_model.safetensors"));
  }

  test::TempDir folder_;
  data::ImageDataOptions pictures_;
  data::ImageSet set_;
};

TEST_F(AutoencoderTraining, ValidatesByTheFormula) {
  auto wanted = request("");
  wanted.autoencoder.validation_fraction = 0.3;
  AutoencoderJob job(wanted);
  const at::NoGradGuard no_grad;
  const Validation found = job.validate(nullptr, {});

  const PictureSchedule schedule(set_, 0.3, wanted.options);
  ASSERT_EQ(schedule.held_out().size(), 3);
  const auto vae = test::tiny_pipeline("sd15").vae;
  PixelCache pixels(set_, pictures_);
  double loss = 0, psnr = 0;
  for (const int64_t place : schedule.held_out()) {
    const at::Tensor x = pixels.at(place, false);
    const auto [mean, logvar] = vae->encode(x);
    const at::Tensor back = vae->decode(mean);
    const at::Tensor divergence = (mean * mean + logvar.exp() - 1 - logvar).sum() / 2;
    loss += ((back - x).abs().mean() + 1e-3 * divergence / x.numel()).item<double>() / 3;
    psnr += 10 * std::log10(4 / (back - x).square().mean().item<double>()) / 3;
  }
  EXPECT_NEAR(found.loss, loss, 1e-5 * loss);
  EXPECT_NEAR(found.figures["psnr"].get<double>(), psnr, 1e-4);
  EXPECT_GT(found.figures["standard_error"].get<double>(), 0);
}

TEST_F(AutoencoderTraining, AStepIsTheSameHoweverItIsCut) {
  pictures_.flip = true;
  tensor::TensorMap whole;
  for (const auto& [rows, passes] : {std::pair<int64_t, int64_t>{8, 1}, {2, 4}}) {
    auto wanted = request(fmt::format("cut{}", rows));
    wanted.options.batch_size = rows;
    wanted.options.gradient_accumulation = passes;
    wanted.options.max_steps = 2;
    const auto values = weights(train(wanted).saved, "vae");
    for (const auto& [name, value] : whole) EXPECT_TRUE(test::close(value, values.at(name), 2e-5)) << name;
    whole = values;
  }
}

TEST_F(AutoencoderTraining, LowersTheLossAndMeasuresTheScale) {
  auto wanted = request("run");
  wanted.options.epochs = 10;
  wanted.options.learning_rate = 5e-3;
  wanted.autoencoder.latent_scale = "measure";
  const double before = [&] {
    const at::NoGradGuard no_grad;
    return AutoencoderJob(wanted).validate(nullptr, {}).loss;
  }();
  const RunResult result = train(wanted);
  EXPECT_LT(result.validations.back().loss, 0.8 * before);
  const double factor = read_json(wanted.out / "lowrank.json")["result"]["scaling_factor"];
  const auto saved = models::load_pipeline(result.saved, at::kFloat);
  EXPECT_EQ(saved.vae->scaling_factor(), factor);

  const at::NoGradGuard no_grad;
  const PictureSchedule schedule(set_, wanted.autoencoder.validation_fraction, wanted.options);
  PixelCache pixels(set_, pictures_);
  std::vector<at::Tensor> draws;
  at::manual_seed(1);
  for (const int64_t place : schedule.shown()) {
    const auto [mean, logvar] = saved.vae->encode(pixels.at(place, false));
    for (int i = 0; i < 50; ++i) draws.push_back((mean + (logvar / 2).exp() * at::randn_like(mean)).flatten());
  }
  EXPECT_NEAR(at::cat(draws).std().item<double>() * factor, 1, 0.02);
}

TEST_F(AutoencoderTraining, ResumedRunLeavesTheSameBytes) {
  const auto whole = weights(train(request("whole")).saved, "vae");
  StopToken stop;
  auto first = request("halves");
  first.stop = &stop;
  first.metrics = [&](const Json& line) {
    if (line["event"] == "step" && line["step"] == 4) stop.request();
  };
  EXPECT_EQ(train(first).outcome, Outcome::cancelled);
  auto second = request("halves");
  second.resume = true;
  const auto resumed = weights(train(second).saved, "vae");
  for (const auto& [name, value] : whole) EXPECT_TRUE(at::equal(value, resumed.at(name))) << name;
}

TEST_F(AutoencoderTraining, SavesWhatWasFrozenAsItWasReadThoughUsedInBfloat16) {
  auto wanted = request("narrow");
  wanted.options.dtype = "bfloat16";
  wanted.options.max_steps = 2;
  const fs::path saved = train(wanted).saved;
  for (const std::string component : {"unet", "text_encoder"}) {
    const auto before = weights(folder_ / "model", component), after = weights(saved, component);
    for (const auto& [name, value] : before) EXPECT_TRUE(at::equal(value, after.at(name))) << name;
  }
  double most = 0;  // the trained ones are float32 numbers that bfloat16 does not hold
  for (const auto& [name, value] : weights(saved, "vae")) {
    ASSERT_EQ(value.scalar_type(), at::kFloat);
    most = std::max(most, (value - value.to(at::kBFloat16).to(at::kFloat)).abs().max().item<double>());
  }
  EXPECT_GT(most, 0);
}

TEST_F(AutoencoderTraining, RefusesMasks) {
  auto wanted = request("");
  wanted.autoencoder.pictures.masks = "alpha";
  EXPECT_LOWRANK_ERROR(AutoencoderJob{wanted}, ErrorKind::unsupported, "an autoencoder learns whole pictures, got 'alpha'");
}

}  // namespace

}  // namespace lowrank::train
