// Pictures drawn while a tiny Stable Diffusion model trains: the ones that `lowrank sample` draws, at no cost to the training.
#include "support/expect_error.h"
#include "train/diffusion_run.h"

#include "lowrank/base/file.h"
#include "lowrank/generate/sampling.h"

namespace lowrank::train {

namespace {

namespace fs = std::filesystem;

class DiffusionSamples : public test::DiffusionRun {
 protected:
  DiffusionSamples() { use_words("sd15"); }

  void use_words(const std::string& kind) {
    model_ = folder_ / (kind + "-words");
    test::save_tiny_model(model_, kind);
  }
  /// Six steps; every run is called "run", so that files that hold its name are equal.
  DiffusionRequest plain(const std::string& parent) {
    auto wanted = request(parent + "/run");
    wanted.tokens = {load_clip_tokens(model_ / "tokenizer")};
    wanted.options.max_steps = 6;
    wanted.options.save_every = 1000;
    wanted.options.ema = 0.9;
    return wanted;
  }
  DiffusionRequest drawing(const std::string& parent) {
    auto wanted = plain(parent);
    wanted.diffusion.samples = {.prompts = {"a photograph, <b>dark</b>", "disc 3"}, .every = 4, .negative = "dark", .steps = 2, .seed = 5};
    return wanted;
  }
  std::string adapter(const DiffusionRequest& request) { return read_file(request.out / "adapter.safetensors"); }
  Json rows(const DiffusionRequest& request) { return read_json(request.out / "samples/samples.json").at("rows"); }
  std::vector<uint8_t> picture(const DiffusionRequest& request, const std::string& name) {
    return data::read_picture(request.out / "samples" / name, {}).rgb;
  }
};

/// The picture of the first prompt, as `lowrank sample` draws it.
std::vector<uint8_t> drawn(const DiffusionRequest& request, const std::string& adapter) {
  const auto pipeline = models::load_pipeline(request.model, at::kFloat);
  std::vector<generate::AdapterUse> uses;
  if (!adapter.empty()) uses.push_back({adapter, 1});
  generate::apply_adapters(pipeline, uses);
  const auto& options = request.diffusion.samples;
  const generate::PromptEncoder encoder(pipeline, {}, {});
  const std::vector<uint64_t> seeds{static_cast<uint64_t>(options.seed)};
  const auto pictures = generate::sample(pipeline, encoder.encode(options.prompts.front(), options.negative),
                                         {.sampler = {.steps = options.steps}, .cfg = options.cfg, .height = 16, .width = 16}, seeds);
  return generate::rgb_bytes(pictures[0]);
}

int largest_difference(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  EXPECT_EQ(a.size(), b.size());
  int most = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

TEST_F(DiffusionSamples, ChangeNoByteOfWhatIsTrained) {
  const auto without = plain("without"), with = drawing("with");
  const RunResult first = train(without), second = train(with);
  EXPECT_EQ(adapter(with), adapter(without));
  EXPECT_EQ(first.loss, second.loss);
  ASSERT_EQ(rows(with).size(), 3);
  EXPECT_EQ(rows(with)[1].at("step"), 4);
  EXPECT_EQ(rows(with)[2].at("files")[1], "000006-01.png");
}

TEST_F(DiffusionSamples, AreWhatTheSavedAdapterDraws) {
  for (const char* kind : {"sd15", "sdxl"}) {
    use_words(kind);
    auto wanted = drawing(kind);
    wanted.diffusion.validation_fraction = 0;  // what is saved is the average at the end
    wanted.options.learning_rate = 0.1;
    train(wanted);
    const auto base = drawn(wanted, ""), adapted = drawn(wanted, wanted.out / "adapter.safetensors");
    EXPECT_LE(largest_difference(picture(wanted, "000000-00.png"), base), test::test_device().is_cuda() ? 1 : 0) << kind;
    EXPECT_LE(largest_difference(picture(wanted, "000006-00.png"), adapted), 1) << kind;
    EXPECT_GT(largest_difference(base, adapted), 2) << kind;
  }
}

TEST_F(DiffusionSamples, AreDrawnWithTheTextEncoderAsItIs) {
  auto wanted = drawing("text");
  wanted.diffusion.validation_fraction = 0;
  wanted.diffusion.text_encoder_learning_rate = 0.1;
  wanted.options.learning_rate = 1e-9;
  train(wanted);
  EXPECT_LE(largest_difference(picture(wanted, "000006-00.png"), drawn(wanted, wanted.out / "adapter.safetensors")), 1);
  EXPECT_GT(largest_difference(picture(wanted, "000006-00.png"), picture(wanted, "000000-00.png")), 1);
}

TEST_F(DiffusionSamples, AStopWhileDrawingIsCleanAndTheRunGoesOnToTheSameBytes) {
  const auto whole = drawing("whole");
  train(whole);
  StopToken stop;
  auto first = drawing("halves");
  first.stop = &stop;
  int64_t drawn = 0;
  first.progress = [&](const Progress& progress) {
    if (progress.stage == "sample" && ++drawn == 4 + 3) stop.request();  // within the second picture of step 4
  };
  const RunResult stopped = train(first);
  EXPECT_EQ(stopped.outcome, Outcome::cancelled);
  EXPECT_EQ(stopped.steps, 4);
  EXPECT_EQ(rows(first).size(), 1);
  auto second = drawing("halves");
  second.resume = true;
  EXPECT_EQ(train(second).outcome, Outcome::finished);
  EXPECT_EQ(adapter(second), adapter(whole));
  EXPECT_EQ(rows(second), rows(whole));
  for (const char* name : {"000000-00.png", "000004-00.png", "000004-01.png", "000006-01.png"})
    EXPECT_EQ(read_file(second.out / "samples" / name), read_file(whole.out / "samples" / name)) << name;
}

TEST_F(DiffusionSamples, GoOnOnlyAsTheyBegan) {
  StopToken stop;
  auto first = drawing("run");
  first.stop = &stop;
  first.metrics = [&](const Json&) { stop.request(); };
  train(first);
  auto other = drawing("run");
  other.resume = true;
  other.diffusion.samples.steps = 3;
  EXPECT_LOWRANK_ERROR(train(other), ErrorKind::invalid_argument, "'steps' was 2 and is 3 now");
  other.diffusion.samples = {};
  EXPECT_EQ(train(other).outcome, Outcome::finished);
  EXPECT_EQ(rows(other).size(), 1);
}

TEST_F(DiffusionSamples, AreOnAPageThatGrows) {
  auto wanted = drawing("page");
  std::vector<std::string> pages;
  wanted.metrics = [&](const Json& line) {
    if (line["event"] == "step" && line["step"] == 5) pages.push_back(read_file(wanted.out / "samples/index.html"));
  };
  train(wanted);
  pages.push_back(read_file(wanted.out / "samples/index.html"));
  ASSERT_EQ(pages.size(), 2);
  const auto has = [](const std::string& page, const std::string& text) { return page.find(text) != std::string::npos; };
  EXPECT_TRUE(has(pages[0], "http-equiv=\"refresh\""));
  EXPECT_FALSE(has(pages[0], "000006-00.png"));
  EXPECT_FALSE(has(pages[1], "http-equiv=\"refresh\""));
  EXPECT_LT(pages[1].find("000006-01.png"), pages[1].find("000004-00.png"));
  EXPECT_FALSE(has(pages[1], "<b>dark</b>"));
  EXPECT_TRUE(has(pages[1], "alt=\"a photograph, &#60;b&#62;dark&#60;/b&#62;, step 0\""));
  EXPECT_TRUE(has(read_file(wanted.out / "samples/000004-01.png"), "Seed: 5, Size: 16x16, Model hash: "));
  EXPECT_TRUE(has(read_file(wanted.out / "samples/000004-01.png"), ", Training step: 4, Version: lowrank "));
}

TEST(SamplesPageTest, SaysWhereAPictureIsMissing) {
  const std::string html = render_html({.name = "a & b",
                                        .settings = "Euler",
                                        .prompts = {"one", "two"},
                                        .width = 512,
                                        .height = 512,
                                        .rows = {{3, 0.5, {"000003-00.png", ""}}}});
  EXPECT_NE(html.find("<title>Samples of a &#38; b</title>"), std::string::npos);
  EXPECT_NE(html.find("<p>No picture: its numbers were not finite.</p><figcaption>two</figcaption>"), std::string::npos);
  EXPECT_EQ(html.find("src=\"\""), std::string::npos);
}

TEST_F(DiffusionSamples, AreRefusedWhereTheModelCannotDrawThem) {
  auto wanted = drawing("size");
  wanted.diffusion.samples.size = "15";
  EXPECT_LOWRANK_ERROR(train(wanted), ErrorKind::invalid_argument, "multiples of 2 pixels, got 15 x 15");
  wanted.diffusion.samples.size = "big";
  EXPECT_LOWRANK_ERROR(train(wanted), ErrorKind::invalid_argument, "or 768x512, got 'big'");
  wanted = drawing("flow");
  wanted.diffusion.diffusion.prediction_type = "flow_prediction";
  EXPECT_LOWRANK_ERROR(train(wanted), ErrorKind::unsupported, "a scheduler of 'flow_prediction', which is trained, got one of 'epsilon'");
  EXPECT_FALSE(fs::exists(wanted.out));
}

}  // namespace

}  // namespace lowrank::train
