// Captions that the text windows do not hold are found before training, whatever shuffling and trigger words make of them.
#include "support/expect_error.h"
#include "train/diffusion_run.h"

#include "lowrank/base/log.h"

namespace lowrank::train {

namespace {

/// A window of the tiny text encoder holds seven letters.
class DiffusionCaptions : public test::DiffusionRun {
 protected:
  DiffusionCaptions() {
    set_log_sink([this](LogLevel level, std::string_view component, std::string_view text) {
      if (level == LogLevel::warning && component == "captions") warnings_.emplace_back(text);
    });
  }
  ~DiffusionCaptions() override { set_log_sink({}); }

  void caption(const char* picture, const std::string& text) {
    write_file_atomic(folder_ / "pictures" / (std::string(picture) + ".txt"), text);
    set_ = data::read_image_set(request_pictures_);
  }
  /// What is cut, as "name: tokens of limit".
  std::vector<std::string> cut(const DiffusionRequest& wanted) {
    const DiffusionJob job(wanted);
    std::vector<std::string> found;
    for (const Json& one : job.notes().value("cut_captions", Json::array()))
      found.push_back(
          fmt::format("{}: {} of {}", one["name"].get<std::string>(), one["tokens"].get<int64_t>(), one["limit"].get<int64_t>()));
    return found;
  }
  using Names = std::vector<std::string>;

  std::vector<std::string> warnings_;
};

TEST_F(DiffusionCaptions, AreGivenTheWindowsThatTheyNeed) {
  caption("p2", "fifteen letters");
  EXPECT_EQ(cut(request("")), Names{});
  EXPECT_TRUE(warnings_.empty());
  caption("p2", std::string(57, 'x'));
  EXPECT_EQ(cut(request("")), Names{"p2.png: 59 of 58"});  // eight windows at most
  ASSERT_EQ(warnings_.size(), 1);
  EXPECT_TRUE(warnings_[0].ends_with("p2.png (59 tokens); shorten them"));
}

TEST_F(DiffusionCaptions, AreNamedWhereGivenWindowsDoNotHoldThem) {
  caption("p2", "fifteen letters");
  caption("p5", "eight le");
  auto wanted = request("out");
  wanted.options.max_steps = 1;
  wanted.diffusion.prompt_windows = 1;
  EXPECT_EQ(cut(wanted), (Names{"p2.png: 17 of 9", "p5.png: 10 of 9"}));
  ASSERT_EQ(warnings_.size(), 1);
  EXPECT_EQ(warnings_[0],
            "tokens after the first 9 are cut in the captions of p2.png (17 tokens), p5.png (10 tokens); --prompt-windows 0 "
            "gives them room");
  train(wanted);
  EXPECT_EQ(read_json(wanted.out / "lowrank.json").at("cut_captions").size(), 2);
  EXPECT_EQ(read_json(wanted.out / "result.json").at("cut_captions")[0].at("name"), "p2.png");
  wanted.diffusion.pictures.long_prompts = "error";
  EXPECT_LOWRANK_ERROR(cut(wanted), ErrorKind::file_format, "p2.png: expected at most 9 tokens, got 17");
}

TEST_F(DiffusionCaptions, AreCountedAsTheyAreShown) {
  caption("p2", "ab,c,de\nfour,fo");  // joined by ", " when shuffled: 9 letters
  auto wanted = request("");
  wanted.diffusion.prompt_windows = 1;
  wanted.diffusion.validation_fraction = 0;
  EXPECT_EQ(cut(wanted), Names{});
  wanted.diffusion.pictures.caption.shuffle = true;
  EXPECT_EQ(cut(wanted), Names{"p2.png: 11 of 9"});
  wanted.diffusion.prompt_windows = 0;
  EXPECT_EQ(cut(wanted), Names{});
  wanted.diffusion.prompt_windows = 1;
  wanted.diffusion.pictures.caption = {.trigger = "x"};  // "x, disc 3" of all others too
  EXPECT_EQ(cut(wanted).size(), 10);
  wanted.diffusion.pictures.caption = {.lines = "random"};
  caption("p2", "short\nlonger line\nthe longest line");
  wanted.options.epochs = 30;
  EXPECT_EQ(cut(wanted), Names{"p2.png: 18 of 9"});
  wanted.options.epochs = 1;
  const int64_t one = static_cast<int64_t>(cut(wanted).size());
  EXPECT_LE(one, 1);
}

}  // namespace

}  // namespace lowrank::train
