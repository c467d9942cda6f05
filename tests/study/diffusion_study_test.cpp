// A comparison on a tiny Stable Diffusion model: what is measured is what was drawn, methods share noise, a study goes on where it was.
#include "lowrank/study/diffusion_study.h"

#include <gmock/gmock.h>

#include "support/expect_close.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"
#include "train/tiny_pipeline.h"

#include "lowrank/study/measures.h"
#include "lowrank/study/runner.h"

namespace lowrank::study {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

/// The model in folder/model, with CLIP's tokenizer beside it.
void save_model(const fs::path& folder) {
  const fs::path tokenizer = fs::path(LOWRANK_SOURCE_DIR) / "tests/golden/text/clip_files";
  Json configs = test::tiny_pipeline_configs("sd15");
  configs["text_encoder"]["vocab_size"] = read_json(tokenizer / "vocab.json").size();
  configs["text_encoder"]["max_position_embeddings"] = 77;
  configs["text_encoder"]["eos_token_id"] = 2;
  models::Pipeline pipeline = models::make_pipeline(configs, "tiny", at::kFloat);
  test::fill_fixed(*pipeline.unet);
  test::fill_fixed(*pipeline.vae);
  test::fill_fixed(*pipeline.text_encoder);
  models::save_diffusers(folder / "model", pipeline);
  fs::copy(tokenizer, folder / "model" / "tokenizer");
}

class DrawnStudy : public ::testing::Test {
 protected:
  DrawnStudy() {
    save_model(folder_.path());
    test::write_tiny_pictures(folder_ / "pictures", 8);
    test::write_tiny_pictures(folder_ / "test", 5, 100);
    train_ = data::read_image_set(test::tiny_picture_options(folder_ / "pictures"));
    test_ = data::read_image_set(test::tiny_picture_options(folder_ / "test"));
  }

  DiffusionStudyRequest what() {
    DiffusionStudyRequest what;
    what.train.options = {.epochs = 2, .batch_size = 2, .best_by = "loss", .dtype = "float32", .device = "cpu"};
    what.train.model = folder_ / "model";
    what.train.diffusion.pictures = test::tiny_picture_options(folder_ / "pictures");
    what.train.diffusion.validation_fraction = 0.25;
    what.train.tokens = {train::load_clip_tokens(folder_ / "model" / "tokenizer")};
    what.train.pictures = &train_;
    what.adapter_for = [](const std::string& method) {
      auto config = adapters::make_config(method);
      config.rank = 2;
      config.alpha = 2;
      config.target_modules = train::default_targets();
      return config;
    };
    what.test = &test_;
    what.draw.sample.sampler = {.sampler = "ddim", .steps = 3};
    what.draw.sample.cfg = 2;
    what.draw.batch = 2;
    what.rows = 3;
    what.out = folder_ / "out";
    return what;
  }

  CompareResult compare(DiffusionStudyRequest what, const std::vector<std::string>& methods = {"lora"}) {
    CompareRequest request{.out = what.out};
    request.options = {.methods = methods, .rate_factors = {1, 10}, .seeds = 2};
    DiffusionStudy kind(std::move(what));
    return study::compare(request, kind);
  }

  models::Pipeline pipeline() { return models::load_pipeline(folder_ / "model", at::kFloat); }

  test::TempDir folder_;
  data::ImageSet train_, test_;
};

TEST_F(DrawnStudy, TheBaseIsMeasuredOnWhatSampleDraws) {
  const Study study = compare(what()).study;
  ASSERT_EQ(study.measures.size(), 2u);
  EXPECT_EQ(study.measures[0].name, "feature");
  const models::Pipeline model = pipeline();
  const generate::PromptEncoder encoder(model, {}, {});
  const auto features = evaluate::latent_features(model.vae);
  for (const int64_t i : {0, 3}) {  // the fourth is wide
    generate::SampleOptions options{.sampler = {.sampler = "ddim", .steps = 3}, .cfg = 2};
    const auto& entry = test_.entries[static_cast<size_t>(i)];
    options.height = entry.placement.bucket.height;
    options.width = entry.placement.bucket.width;
    const std::vector<uint64_t> seeds{1 + static_cast<uint64_t>(i)};
    const at::Tensor drawn = generate::sample(model, encoder.encode(entry.sample.caption, ""), options, seeds);
    const at::Tensor truth = drawing_set(test_, what().train.diffusion.pictures).truth[static_cast<size_t>(i)].unsqueeze(0);
    const auto row = static_cast<size_t>(i);
    EXPECT_NEAR(study.measures[1].base[row], evaluate::pixel_distances(drawn, truth).item<double>(), 1e-4);
    EXPECT_NEAR(study.measures[0].base[row], features->distances(features->of(drawn), features->of(truth)).item<double>(), 1e-3);
  }
  EXPECT_NE(study.measures[1].base, study.measures[1].base_again);
}

TEST_F(DrawnStudy, RunsAreRecordedWithPicturesAndAnInterruptedStudyGoesOn) {
  const Study study = compare(what(), {"lora", "lokr"}).study;
  int64_t tested = 0;
  for (const study::Run& run : study.runs) {
    EXPECT_EQ(run.status, RunStatus::ok) << run.error;
    if (!run.tested()) continue;
    ++tested;
    EXPECT_EQ(run.item_scores, closeness(study.measures[0], run.distances.at("feature")));
    EXPECT_EQ(fs::exists(folder_ / "out/pictures" / run_name(run) / "test-2.png"), run.seed == 42);
  }
  EXPECT_EQ(tested, 4);
  EXPECT_FALSE(fs::exists(folder_ / "out/pictures/truth/test-3.png"));
  const fs::path gone = folder_ / "out/runs" / (run_name(study.runs.back()) + ".json");
  ASSERT_TRUE(fs::remove(gone));
  const Study again = compare(what(), {"lora", "lokr"}).study;
  EXPECT_TRUE(fs::exists(gone));
  EXPECT_EQ(again.runs.size(), study.runs.size());
  EXPECT_EQ(find_run(again, study.runs.back())->distances, study.runs.back().distances);
}

TEST_F(DrawnStudy, AnAdapterThatLearnedNothingIsTheBase) {
  auto request = what();
  request.train.diffusion.cache = folder_ / "cache";
  CompareRequest one{.out = folder_ / "out"};
  one.options = {.methods = {"lora", "dora"}, .rate_factors = {1e-9}, .seeds = 1};
  DiffusionStudy kind(std::move(request));
  const Study study = study::compare(one, kind).study;
  for (const study::Run& run : study.runs) {
    ASSERT_EQ(run.status, RunStatus::ok) << run.error;
    for (const Measure& measure : study.measures) {
      if (!run.tested()) continue;
      for (size_t i = 0; i < measure.base.size(); ++i) EXPECT_NEAR(run.distances.at(measure.name)[i], measure.base[i], 1e-3) << run.method;
    }
  }
}

TEST_F(DrawnStudy, ForgettingIsMeasuredOnItsOwnPictures) {
  auto request = what();
  request.forgetting = &train_;
  request.judge = "pixel";
  const Study study = compare(std::move(request)).study;
  std::vector<std::string> names;
  for (const Measure& measure : study.measures) names.push_back(measure.name);
  EXPECT_EQ(names, (std::vector<std::string>{"pixel", "feature", "forgetting feature", "forgetting pixel"}));
  EXPECT_EQ(study.measures[2].base.size(), 8u);
  EXPECT_TRUE(fs::exists(folder_ / "out/pictures/base/forgetting-1.png"));
}

TEST_F(DrawnStudy, PromptsAreJudgedByTheNearestExample) {
  data::Picture red{.size = {16, 16}}, blue{.size = {16, 16}};
  for (int i = 0; i < 256; ++i) {
    red.rgb.insert(red.rgb.end(), {static_cast<uint8_t>(200 + i % 50), 10, 10});
    blue.rgb.insert(blue.rgb.end(), {10, 10, static_cast<uint8_t>(200 + i % 50)});
  }
  data::write_png(folder_ / "red.png", red);
  data::write_png(folder_ / "blue.png", blue);
  write_file_atomic(folder_ / "prompts.json",
                    R"({"galleries": {"colour": {"by": "colour", "classes": {"red": ["red.png", "red.png"], "blue": ["blue.png"]}}},
                        "prompts": [{"prompt": "a red disc", "colour": "red"}, {"prompt": "a blue disc", "colour": "blue"}]})");
  const PromptSet set = read_prompts(folder_ / "prompts.json");
  const models::Pipeline model = pipeline();
  const auto features = evaluate::latent_features(model.vae);
  const Identifier identifier(set.galleries[0], test::tiny_picture_options(folder_ / "pictures"), *features, 4);
  const at::Tensor reddish = at::zeros({3, 16, 16});
  reddish[0].fill_(0.7);
  EXPECT_EQ(identifier.classes_of({reddish, reddish.roll({2}, {0})}), (std::vector<std::string>{"red", "blue"}));
  EXPECT_EQ(identifier.own_error("red"), 0);
  EXPECT_EQ(identifier.own_error("blue"), 1);  // alone in its class
  auto request = what();
  request.prompts = &set;
  const Study study = compare(std::move(request)).study;
  EXPECT_EQ(study.measures.back().name, "prompts in all");
  for (const study::Run& run : study.runs) {
    if (run.tested()) EXPECT_EQ(run.distances.at("prompts colour").size(), 2u);
  }
  write_file_atomic(folder_ / "prompts.json", R"({"galleries": {}, "prompts": [{"prompt": "x", "colour": "red"}]})");
  EXPECT_LOWRANK_ERROR(read_prompts(folder_ / "prompts.json"), ErrorKind::file_format, "got 'colour'");
}

TEST_F(DrawnStudy, TestPicturesThatTrainingSeesAreRefused) {
  auto request = what();
  request.test = &train_;
  EXPECT_LOWRANK_ERROR(DiffusionStudy(std::move(request)), ErrorKind::invalid_argument, "p0.png is in the training pictures too");
}

}  // namespace
}  // namespace lowrank::study
