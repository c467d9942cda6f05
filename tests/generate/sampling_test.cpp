// Pictures as diffusers' pipelines make them from the same latents, and what a seed decides.
#include "lowrank/generate/sampling.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <fstream>
#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/temp_dir.h"
#include "tiny.h"

namespace lowrank::generate {
namespace {

using test::golden;

double gap(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() ? (a - b).abs().max().item<double>() : std::numeric_limits<double>::infinity();
}

class Sampling : public ::testing::TestWithParam<const char*> {
 protected:
  const std::string kind_ = GetParam();
  const Json golden_ = test::golden_json(kind_);
  const tensor::TensorMap expected_ = tensor::load_tensors(golden("generate/" + kind_ + ".safetensors"));
  models::Pipeline pipeline_ = test::tiny_pipeline(kind_);
  const std::string prompt_ = golden_.at("prompt"), negative_ = golden_.at("negative");
  PromptEncoder encoder_{pipeline_, golden("text/clip_files"), {}};
};
INSTANTIATE_TEST_SUITE_P(Kinds, Sampling, ::testing::Values("sd15", "sdxl"), [](const auto& info) { return std::string(info.param); });

TEST_P(Sampling, TextStatesAreThePipelines) {
  const auto expect = [&](const Conditions& found, const std::string& prefix) {
    EXPECT_LT(gap(found.positive.states, expected_.at(prefix + "positive")), 1e-4);
    EXPECT_LT(gap(found.negative.states, expected_.at(prefix + "negative")), 1e-4);
    if (!pipeline_.is_xl()) return;
    EXPECT_LT(gap(found.positive.pooled, expected_.at(prefix + "positive_pooled")), 1e-4);
    EXPECT_LT(gap(found.negative.pooled, expected_.at(prefix + "negative_pooled")), 1e-4);
  };
  expect(encoder_.encode(prompt_, negative_), "");
  expect(encoder_.encode(prompt_, ""), "empty_");
  if (!pipeline_.is_xl()) return;
  const PromptEncoder skipping(pipeline_, golden("text/clip_files"), {.clip_skip = 1});
  EXPECT_LT(gap(skipping.encode(prompt_, 1).states, expected_.at("skip1")), 1e-4);
}

TEST_P(Sampling, PicturesAreThePipelines) {
  const std::vector<uint64_t> seeds{1};
  for (size_t i = 0; i < golden_.at("cases").size(); ++i) {
    const Json& one = golden_.at("cases")[i];
    SCOPED_TRACE(one.at("sampler").get<std::string>());
    pipeline_.scheduler = one.at("scheduler");
    const auto sampler = sampler_for(pipeline_, {.steps = one.at("steps")});
    const Conditions conditions = encoder_.encode(prompt_, one.at("negative").get<std::string>());
    const at::Tensor latents = denoise(pipeline_, *sampler, conditions, one.at("cfg"), expected_.at("latents"), seeds);
    EXPECT_LT(gap(decode(pipeline_, latents), expected_.at("picture" + std::to_string(i))), 1e-3);
  }
}

TEST(Prompts, AreTheLinesOfAFile) {
  const lowrank::test::TempDir folder;
  const auto file = folder / "prompts.txt";
  std::ofstream(file) << "# two\na, b \r\n\n   \nc #1";
  EXPECT_EQ(read_prompts(file), (std::vector<std::string>{"a, b", "c #1"}));
  std::ofstream(file) << "# none\n";
  EXPECT_LOWRANK_ERROR(read_prompts(file), ErrorKind::invalid_argument, "expected a prompt a line");
}

TEST_P(Sampling, APictureIsItsSeedsAloneAndInABatch) {
  const Conditions conditions = encoder_.encode(prompt_, negative_);
  SampleOptions options{.sampler = {.sampler = "euler_ancestral", .steps = 3}, .height = 12, .width = 20};
  const std::vector<uint64_t> both{7, 8}, second{8};
  const at::Tensor pictures = sample(pipeline_, conditions, options, both), alone = sample(pipeline_, conditions, options, second);
  EXPECT_EQ(pictures.sizes(), at::IntArrayRef({2, 3, 12, 20}));
  EXPECT_LT(gap(pictures.slice(0, 1), alone), 1e-4);
  EXPECT_GT(gap(pictures.slice(0, 0, 1), alone), 1e-2);
  EXPECT_TRUE(at::equal(sample(pipeline_, conditions, options, second), alone));
}

TEST_P(Sampling, LongPromptsAreEncodedInPieces) {
  const std::string text = golden_.at("long");
  ASSERT_EQ(encoder_.chunk_tokens(), 75);
  const int64_t chunks = encoder_.chunks(text);
  ASSERT_EQ(chunks, (encoder_.tokens(text) + 74) / 75);
  ASSERT_GE(chunks, 2);
  const Conditions conditions = encoder_.encode(text, "dark");
  EXPECT_EQ(conditions.positive.states.size(1), 77 * chunks);
  EXPECT_EQ(conditions.negative.states.size(1), 77 * chunks);
  // The negative prompt's further pieces are empty prompts.
  EXPECT_LT(gap(conditions.negative.states.slice(1, 77, 154), encoder_.encode("", 1).states), 1e-5);
  EXPECT_LT(gap(conditions.negative.states.slice(1, 0, 77), encoder_.encode("dark", 1).states), 1e-5);
  const PromptEncoder strict(pipeline_, golden("text/clip_files"), {.chunk_long = false});
  EXPECT_NO_THROW(strict.encode(prompt_, ""));
  EXPECT_LOWRANK_ERROR(strict.encode(text, ""), ErrorKind::invalid_argument, "expected at most 75 tokens, got");
}

TEST(SampleChecks, SizesStopsNumbersAndTokenizers) {
  models::Pipeline pipeline = test::tiny_pipeline("sd15");
  EXPECT_EQ(picture_size(pipeline, {}), std::pair(int64_t{16}, int64_t{16}));
  EXPECT_LOWRANK_ERROR(picture_size(pipeline, {.height = 15}), ErrorKind::invalid_argument, "multiples of 2 pixels, got 15 x 16");
  EXPECT_LOWRANK_ERROR(PromptEncoder(pipeline, {}, {}), ErrorKind::invalid_argument, "a single checkpoint holds no tokenizer");
  const PromptEncoder encoder(pipeline, golden("text/clip_files"), {});
  const Conditions conditions = encoder.encode("dark", "");
  const std::vector<uint64_t> seeds{41, 42};
  StopToken stop;
  std::vector<int64_t> steps;
  const auto stop_at_two = [&](const Progress& progress) {
    steps.push_back(progress.done);
    if (progress.done == 2) stop.request();
  };
  const SampleOptions options{.sampler = {.steps = 5}};
  EXPECT_LOWRANK_ERROR(sample(pipeline, conditions, options, seeds, {stop_at_two, &stop}), ErrorKind::cancelled, "stopped at step 2 of 5");
  EXPECT_EQ(steps, (std::vector<int64_t>{1, 2}));
  at::Tensor latents = seed_noise(seeds, -1, {4, 8, 8});
  latents[1].fill_(std::nan(""));
  EXPECT_LOWRANK_ERROR(denoise(pipeline, *sampler_for(pipeline, options.sampler), conditions, 7, latents, seeds), ErrorKind::unsupported,
                       "the picture with seed 42 hold NaN");
}

TEST(RgbBytes, RoundToNearestRowByRow) {
  const at::Tensor picture = at::arange(12, at::kFloat).reshape({3, 2, 2}) / 255 + 0.4 / 255;
  EXPECT_EQ(rgb_bytes(picture), (std::vector<uint8_t>{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11}));
}

}  // namespace
}  // namespace lowrank::generate
