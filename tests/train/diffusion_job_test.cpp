// Training an adapter of a tiny Stable Diffusion model from end to end: exact accumulation, bit-exact resume, files that load.
#include <gtest/gtest.h>

#include "support/expect_close.h"
#include "support/expect_error.h"
#include "train/diffusion_run.h"

#include "lowrank/adapters/dialects/convert.h"
#include "lowrank/adapters/dialects/live.h"

namespace lowrank::train {

namespace {

namespace fs = std::filesystem;
using DiffusionTraining = test::DiffusionRun;
using test::flat;

TEST_F(DiffusionTraining, AStepIsTheSameHoweverItIsCut) {
  request_pictures_.flip = true;
  at::Tensor whole;
  for (const auto& [rows, passes] : {std::pair<int64_t, int64_t>{8, 1}, {4, 2}, {1, 8}}) {
    auto wanted = request(fmt::format("cut{}", rows));
    wanted.options.batch_size = rows;
    wanted.options.gradient_accumulation = passes;
    wanted.options.max_steps = 2;
    wanted.adapter->options = adapters::make_config("lora").options;
    OptionTable own;
    wanted.adapter->declare(own);
    own.apply({{"dropout", 0.2}}, "test");
    wanted.diffusion.diffusion.min_snr_gamma = 5;
    wanted.diffusion.diffusion.noise_offset = 0.05;
    train(wanted);
    const at::Tensor values = flat(wanted.out / "adapter.safetensors");
    if (whole.defined()) EXPECT_TRUE(test::close(values, whole, 2e-5)) << rows;
    whole = values;
  }
}

TEST_F(DiffusionTraining, ResumedRunLeavesTheSameBytes) {
  auto whole = request("whole");
  whole.diffusion.pictures.caption.shuffle = true;
  whole.diffusion.pictures.caption.dropout = 0.2;
  whole.options.save_every = 1000;
  train(whole);

  StopToken stop;
  auto first = whole;
  first.out = folder_ / "halves";
  first.stop = &stop;
  first.metrics = [&](const Json& line) {
    if (line["event"] == "step" && line["step"] == 4) stop.request();
  };
  EXPECT_EQ(train(first).outcome, Outcome::cancelled);
  EXPECT_FALSE(fs::exists(first.out / "adapter.safetensors"));
  auto second = whole;
  second.out = first.out;
  second.resume = true;
  train(second);
  const auto tensors = tensor::load_tensors(whole.out / "adapter.safetensors");
  const auto resumed = tensor::load_tensors(first.out / "adapter.safetensors");
  ASSERT_EQ(tensors.size(), resumed.size());
  for (const auto& [name, value] : tensors) EXPECT_TRUE(at::equal(value, resumed.at(name))) << name;
}

TEST_F(DiffusionTraining, TheAverageIsWhatIsValidatedAndSavedAndSurvivesAStop) {
  auto wanted = request("averaged");
  wanted.options.ema = 0.9;
  wanted.options.epochs = 1;
  wanted.options.max_steps = 4;
  wanted.diffusion.validation_fraction = 0;
  train(wanted);
  // The same by hand from runs of 1 to 4 steps; the schedule's length is kept by a constant rate without warm-up.
  const auto constant = [&](DiffusionRequest run, int64_t steps, double ema, const std::string& out) {
    run.out = folder_ / out;
    run.options.ema = ema;
    run.options.max_steps = steps;
    run.options.schedule = "constant";
    run.options.warmup_fraction = 0;
    return flat(train(run).saved);
  };
  at::Tensor average;
  for (int64_t step = 1; step <= 4; ++step) {
    const at::Tensor values = constant(wanted, step, 0, fmt::format("steps{}", step));
    const double decay = std::min(0.9, static_cast<double>(1 + step) / static_cast<double>(10 + step));
    average = average.defined() ? decay * average + (1 - decay) * values : values;
  }
  EXPECT_TRUE(test::close(constant(wanted, 4, 0.9, "four"), average, 1e-5));

  StopToken stop;
  auto first = wanted;
  first.out = folder_ / "stopped";
  first.stop = &stop;
  first.metrics = [&](const Json& line) {
    if (line["step"] == 2) stop.request();
  };
  train(first);
  auto second = wanted;
  second.out = first.out;
  second.resume = true;
  EXPECT_TRUE(at::equal(flat(train(second).saved), flat(wanted.out / "adapter.safetensors")));
}

TEST_F(DiffusionTraining, ResumingWithOtherOptionsIsRefused) {
  StopToken stop;
  auto first = request("run");
  first.stop = &stop;
  first.metrics = [&](const Json&) { stop.request(); };
  train(first);
  auto second = request("run");
  second.resume = true;
  second.diffusion.diffusion.noise_offset = 0.1;
  EXPECT_LOWRANK_ERROR(train(second), ErrorKind::invalid_argument, "'noise-offset' was 0.0 and is 0.1 now");
}

TEST_F(DiffusionTraining, LowersTheHeldOutLossAndTellsItByBand) {
  auto wanted = request("run");
  wanted.options.epochs = 12;
  wanted.diffusion.validation_fraction = 0.3;
  std::vector<Json> validations;
  wanted.metrics = [&](const Json& line) {
    if (line["event"] == "validation") validations.push_back(line);
  };
  const RunResult result = train(wanted);
  ASSERT_EQ(validations.size(), 12);
  const Json &first = validations.front(), &last = validations.back();
  EXPECT_LT(last["loss"].get<double>(), 0.9 * first["loss"].get<double>());
  EXPECT_LT(result.validations[static_cast<size_t>(result.best)].loss, first["loss"].get<double>());
  ASSERT_EQ(last["bands"].size(), 4);
  double mean = 0;
  for (const Json& band : last["bands"]) mean += band["loss"].get<double>() / 4;
  EXPECT_NEAR(mean, last["loss"].get<double>(), 1e-9);
  EXPECT_GT(last["standard_error"].get<double>(), 0);
  EXPECT_EQ(read_json(wanted.out / "lowrank.json")["held_out"].size(), 3);
}

TEST_F(DiffusionTraining, PicturesOfEqualBytesAreHeldOutTogetherAndPriorOnesNever) {
  fs::copy_file(folder_ / "pictures/p0.png", folder_ / "pictures/copy.png");
  write_file_atomic(folder_ / "pictures/copy.txt", "again");
  test::write_tiny_pictures(folder_ / "prior", 4, 50);
  request_pictures_.prior_images = (folder_ / "prior").string();
  set_ = data::read_image_set(request_pictures_);
  for (int64_t seed = 0; seed < 12; ++seed) {
    auto wanted = request("");
    wanted.options.seed = seed;
    wanted.diffusion.validation_fraction = 0.5;
    const DiffusionJob job(wanted);
    const auto names = job.held_out();
    const bool one = std::ranges::count(names, "p0.png") > 0, other = std::ranges::count(names, "copy.png") > 0;
    EXPECT_EQ(one, other);
    EXPECT_EQ(names.size(), one ? 6 : 5);
  }
}

TEST_F(DiffusionTraining, PriorPicturesCountByTheirWeightAndMasksByTheirArea) {
  const auto loss_of = [&](double weight) {
    auto wanted = request("");
    wanted.diffusion.validation_fraction = 0;
    wanted.diffusion.prior_weight = weight;
    wanted.options.batch_size = 64;
    DiffusionJob job(wanted);
    job.prepare({});
    double sum = 0;
    for (int64_t step = 0; step < job.steps_per_epoch(); ++step) sum += job.loss(job.passes(step).front(), 0).item<double>();
    return sum;
  };
  const double plain = loss_of(1);
  test::write_tiny_pictures(folder_ / "prior", 4, 50);
  request_pictures_.prior_images = (folder_ / "prior").string();
  set_ = data::read_image_set(request_pictures_);
  const double none = loss_of(0), half = loss_of(0.5), full = loss_of(1);
  EXPECT_NEAR(none, plain, 1e-4 * plain);
  EXPECT_GT(full, 1.1 * none);
  EXPECT_NEAR(half, (none + full) / 2, 1e-4 * full);

  fs::create_directory(folder_ / "masks");
  for (int i = 0; i < 10; ++i) {
    const data::Size size = i % 4 == 3 ? data::Size{24, 16} : data::Size{16, 16};
    data::write_png(folder_ / "masks" / fmt::format("p{}.png", i),
                    {.size = size, .rgb = std::vector<uint8_t>(static_cast<size_t>(3 * size.area()), 51)});
  }
  read_pictures();
  request_pictures_.masks = (folder_ / "masks").string();
  set_ = data::read_image_set(request_pictures_);
  EXPECT_NEAR(loss_of(1), 0.2 * plain, 1e-4 * plain);
}

TEST_F(DiffusionTraining, SavesFilesThatHoldWhatWasTrained) {
  const std::vector<std::tuple<const char*, const char*, const char*>> cases = {{"lora", "auto", "kohya"},
                                                                                {"dora", "auto", "lycoris"},
                                                                                {"lokr", "auto", "lycoris"},
                                                                                {"lora", "diffusers", "diffusers"},
                                                                                {"lora", "peft", "peft"}};
  for (const auto& [method, save_as, dialect] : cases) {
    auto wanted = request(std::string(method) + save_as, method);
    wanted.options.max_steps = 2;
    wanted.diffusion.save_as = save_as;
    const auto folder = open_folder(wanted);
    DiffusionJob job(wanted);
    const RunResult result = run(job, wanted, folder.get());
    const auto read = adapters::read_adapter(result.saved, {"", &job.trainee().layout, "unet"});
    EXPECT_EQ(read.dialect->name(), dialect);
    const adapters::AdapterRecord trained = job.trainee().record();
    ASSERT_EQ(read.record.modules.size(), trained.modules.size());
    for (size_t i = 0; i < trained.modules.size(); ++i) {
      EXPECT_EQ(read.record.modules[i].name(), trained.modules[i].name());
      EXPECT_TRUE(test::close(adapters::delta(read.record.modules[i]), adapters::delta(trained.modules[i]), 1e-6));
      EXPECT_GT(adapters::update_norm(trained.modules[i]), 0);
    }
    if (std::string(dialect) != "kohya") continue;
    EXPECT_EQ(read.record.metadata.at("ss_network_dim"), "2");
    EXPECT_EQ(read.record.metadata.at("ss_steps"), "2");
    EXPECT_EQ(read.record.metadata.at("ss_learning_rate"), "0.01");
    EXPECT_EQ(read.record.metadata.at("modelspec.title"), "loraauto");
    EXPECT_EQ(parse_json(read.record.metadata.at("ss_tag_frequency"), "tags")["."]["disc 3"], 1);
  }
}

TEST_F(DiffusionTraining, TextEncodersTrainAtTheirOwnRateAndSdxlTrainsBoth) {
  for (const char* kind : {"sd15", "sdxl"}) {
    use(kind);
    auto wanted = request(kind + std::string("-text"));
    wanted.options.max_steps = 2;
    wanted.diffusion.text_encoder_learning_rate = 1e-3;
    const RunResult result = train(wanted);
    const auto read = adapters::read_adapter(result.saved, {"", nullptr, ""});
    std::map<std::string, double> norms;
    for (const auto& module : read.record.modules) norms[module.component] += adapters::update_norm(module);
    EXPECT_EQ(norms.size(), std::string(kind) == "sdxl" ? 3 : 2);
    for (const auto& [component, norm] : norms) EXPECT_GT(norm, 0) << component;
    wanted.options.warmup_fraction = 0;
    wanted.options.max_steps = 1;
    auto slower = wanted;
    slower.out = folder_ / (kind + std::string("-slower"));
    slower.diffusion.text_encoder_learning_rate = 1e-4;
    wanted.out = folder_ / (kind + std::string("-faster"));
    const auto moved = [&](const DiffusionRequest& request, const std::string& prefix) {  // by AdamW's first step
      double norm = 0;
      for (const auto& [name, value] : tensor::load_tensors(train(request).saved)) {
        if (name.starts_with(prefix) && name.ends_with("lora_up.weight")) norm += value.square().sum().item<double>();
      }
      return std::sqrt(norm);
    };
    const std::string text = "lora_te";
    const double fast = moved(wanted, text), slow = moved(slower, text);
    EXPECT_NEAR(fast / slow, 10, 1e-3);
  }
}

TEST_F(DiffusionTraining, SdxlTrainsWithPooledTextAndTimeIds) {
  use("sdxl");
  auto wanted = request("xl");
  wanted.options.max_steps = 3;
  const RunResult result = train(wanted);
  EXPECT_EQ(result.steps, 3);
  EXPECT_TRUE(std::isfinite(result.loss));
  data::ImageEntry entry{.size = {40, 30}, .placement = {{16, 16}, {21, 16}, 2, 0}};
  EXPECT_EQ(time_ids(entry, false), (std::vector<double>{30, 40, 0, 2, 16, 16}));
  EXPECT_EQ(time_ids(entry, true), (std::vector<double>{30, 40, 0, 3, 16, 16}));
}

TEST_F(DiffusionTraining, FullTrainingSavesAModelThatLoads) {
  auto wanted = request("full", "full");
  wanted.options.max_steps = 2;
  const RunResult result = train(wanted);
  const auto before = models::load_pipeline(model_, at::kFloat), after = models::load_pipeline(result.saved, at::kFloat);
  EXPECT_FALSE(at::equal(before.unet->parameters().front(), after.unet->parameters().front()));
  EXPECT_TRUE(at::equal(before.vae->parameters().front(), after.vae->parameters().front()));
  auto other = request("v", "full");
  other.options.max_steps = 1;
  other.diffusion.diffusion.prediction_type = "v_prediction";
  EXPECT_EQ(models::load_pipeline(train(other).saved, at::kFloat).scheduler.at("prediction_type"), "v_prediction");
}

TEST_F(DiffusionTraining, FullTrainingTakesTheTextEncoderAlongAtItsOwnRate) {
  auto wanted = request("both", "full");
  wanted.options.max_steps = 2;
  wanted.options.learning_rate = 1e-3;
  wanted.diffusion.text_encoder_learning_rate = 1e-5;
  const RunResult result = train(wanted);
  const auto before = models::load_pipeline(model_, at::kFloat), after = models::load_pipeline(result.saved, at::kFloat);
  const auto moved = [](const torch::nn::Module& a, const torch::nn::Module& b) {
    double most = 0;
    for (const auto& parameter : a.named_parameters())
      most = std::max(most, (b.named_parameters()[parameter.key()] - parameter.value()).abs().max().item<double>());
    return most;
  };
  EXPECT_GT(moved(*before.unet, *after.unet), 5e-4);  // Adam's first steps are of the size of the rate
  EXPECT_GT(moved(*before.text_encoder, *after.text_encoder), 5e-6);
  EXPECT_LT(moved(*before.text_encoder, *after.text_encoder), 1e-4);
  EXPECT_EQ(moved(*before.vae, *after.vae), 0);
}

TEST_F(DiffusionTraining, RefusesAnInpaintingModel) {
  Json configs = test::tiny_pipeline_configs("sd15");
  configs["unet"]["in_channels"] = 9;
  models::save_diffusers(folder_ / "inpainting", models::make_pipeline(configs, "inpainting", at::kFloat));
  model_ = folder_ / "inpainting";
  EXPECT_LOWRANK_ERROR(DiffusionJob job(request("")), ErrorKind::unsupported, "expected a UNet for 4 latent channels, got one for 9");
}

}  // namespace

}  // namespace lowrank::train
