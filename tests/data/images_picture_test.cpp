#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "support/expect_error.h"
#include "support/temp_dir.h"

#include "lowrank/base/file.h"
#include "lowrank/base/json.h"
#include "lowrank/base/log.h"
#include "lowrank/data/images/picture.h"
#include "lowrank/data/images/resample.h"

namespace lowrank::data {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

const fs::path kFolder = fs::path(LOWRANK_SOURCE_DIR) / "tests/golden/data/pictures";

const Json& golden() {
  static const Json json = read_json(kFolder / "expected.json");
  return json;
}

/// The largest difference of two rows of samples; 1000 when their lengths differ.
int difference(const std::vector<uint8_t>& got, const std::vector<uint8_t>& want) {
  if (got.size() != want.size()) return 1000;
  int worst = 0;
  for (size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::abs(got[i] - want[i]));
  return worst;
}

TEST(ReadPicture, EqualsPillowForEveryKindOfFile) {
  int read = 0;
  for (const auto& [name, want] : golden()["files"].items()) {
    if (want.is_null()) continue;
    SCOPED_TRACE(name);
    const Picture picture = read_picture(kFolder / name, {});
    EXPECT_EQ(picture.size, (Size{want["width"], want["height"]}));
    EXPECT_LE(difference(picture.rgb, want["rgb"].get<std::vector<uint8_t>>()), want["tolerance"].get<int>());
    EXPECT_EQ(picture.notes.size(), name == "bad_profile.jpg" ? 1U : 0U);
    ++read;
  }
  EXPECT_EQ(read, 21);
}

TEST(ReadPicture, TellsAnUnusableProfile) {
  EXPECT_THAT(read_picture(kFolder / "bad_profile.jpg", {}).notes, ElementsAre(HasSubstr("colour profile is unusable")));
}

TEST(ReadPicture, LaysAlphaOverTheChosenColourAndKeepsItOnRequest) {
  const Picture red = read_picture(kFolder / "alpha.webp", {.background = {255, 0, 0}, .keep_alpha = true});
  ASSERT_EQ(red.alpha.size(), 16U * 12U);
  EXPECT_EQ(red.alpha[0], 0);
  EXPECT_EQ(red.alpha[15], 240);
  EXPECT_THAT(std::vector<uint8_t>(red.rgb.begin(), red.rgb.begin() + 3), ElementsAre(255, 0, 0));
  EXPECT_TRUE(read_picture(kFolder / "alpha.webp", {}).alpha.empty());
  EXPECT_TRUE(read_picture(kFolder / "plain.jpg", {.keep_alpha = true}).alpha.empty());
}

struct Refusal {
  const char* name;
  const char* says;
};

class RefusedPicture : public testing::TestWithParam<Refusal> {};

TEST_P(RefusedPicture, IsNamedWithItsOwnSentence) {
  const auto& [name, says] = GetParam();
  EXPECT_LOWRANK_ERROR(read_picture(kFolder / name, {}), ErrorKind::file_format, says);
  EXPECT_LOWRANK_ERROR(read_picture(kFolder / name, {}), ErrorKind::file_format, name);
}

INSTANTIATE_TEST_SUITE_P(Golden, RefusedPicture,
                         testing::Values(Refusal{"empty.png", "got an empty file (0 bytes)"},
                                         Refusal{"text.png", "got text that begins 'A text that somebody nam'"},
                                         Refusal{"zeros.jpg", "got nothing but zero bytes"}, Refusal{"bitmap.png", "got a BMP picture"},
                                         Refusal{"moving.gif", "got an animated GIF of 3 frames"},
                                         Refusal{"moving.webp", "got an animated WebP of 3 frames"},
                                         Refusal{"moving.png", "got an animated PNG"}, Refusal{"moving.avif", "got an animated AVIF"},
                                         Refusal{"cut.jpg", "expected a whole JPEG picture, got a truncated or damaged one"},
                                         Refusal{"cut.png", "expected a whole PNG picture, got a truncated or damaged one"},
                                         Refusal{"cut.webp", "expected a whole WebP picture, got a truncated or damaged one"},
                                         Refusal{"cut.gif", "expected a whole GIF picture, got a truncated or damaged one"},
                                         Refusal{"cut.avif", "expected a whole AVIF picture, got a truncated or damaged one"}),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

TEST(ReadPicture, EveryGoldenThatPillowHasNoPixelsForIsRefused) {
  int refused = 0;
  for (const auto& [name, want] : golden()["files"].items()) {
    if (!want.is_null()) continue;
    SCOPED_TRACE(name);
    EXPECT_THROW(read_picture(kFolder / name, {}), Error);
    ++refused;
  }
  EXPECT_EQ(refused, 14);
}

TEST(ReadPicture, AHugePictureIsRefusedByItsHeader) {
  EXPECT_LOWRANK_ERROR(read_picture(kFolder / "huge.png", {}), ErrorKind::invalid_argument,
                       "expected at most 100 megapixels, got 30000x30000 = 900 megapixels");
  EXPECT_LOWRANK_ERROR(read_picture(kFolder / "plain.jpg", {.max_pixels = 191}), ErrorKind::invalid_argument, "16x12");
  EXPECT_EQ(read_picture(kFolder / "plain.jpg", {.max_pixels = 192}).size, (Size{16, 12}));
}

TEST(ReadPicture, HeaderSaysTheUprightSizeWithoutDecoding) {
  const MappedFile turned(kFolder / "turned6.jpg"), huge(kFolder / "huge.png");
  EXPECT_EQ(read_header(turned.bytes(), "turned6.jpg", {}).size, (Size{12, 16}));
  EXPECT_EQ(read_header(huge.bytes(), "huge.png", {.max_pixels = 1'000'000'000}).size, (Size{30000, 30000}));
  EXPECT_LOWRANK_ERROR(read_header(huge.bytes(), "huge.png", {}), ErrorKind::invalid_argument, "--max-megapixels");
}

TEST(ReadPicture, LibvipsNeverWritesToStderr) {
  std::vector<std::string> logged;
  set_log_sink([&](LogLevel, std::string_view component, std::string_view text) {
    logged.push_back(std::string(component) + ": " + std::string(text));
  });
  testing::internal::CaptureStderr();
  for (const auto& [name, want] : golden()["files"].items()) {
    try {
      read_picture(kFolder / name, {});
    } catch (const Error&) {}
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  set_log_sink({});
  EXPECT_FALSE(logged.empty()) << "the damaged files give warnings";
  for (const auto& line : logged) EXPECT_THAT(line, testing::StartsWith("libvips: "));
}

TEST(WritePng, GivesBackTheSamePixelsAndTheSameBytes) {
  const test::TempDir folder;
  Picture picture{{5, 3}, {}, {}, {}};
  for (int i = 0; i < 45; ++i) picture.rgb.push_back(static_cast<uint8_t>(i * 37));
  write_png(folder / "a.png", picture);
  EXPECT_EQ(read_picture(folder / "a.png", {}).rgb, picture.rgb);
  EXPECT_EQ(encode_png(picture), read_file(folder / "a.png"));
}

TEST(Color, ReadsHexAndNames) {
  EXPECT_EQ(parse_color("#ff8001"), (Color{255, 128, 1}));
  EXPECT_EQ(parse_color("#F80"), (Color{255, 136, 0}));
  EXPECT_EQ(parse_color("grey"), (Color{128, 128, 128}));
  for (const char* bad : {"", "#", "#12345", "ff8001", "#gg0000", "blue"}) {
    EXPECT_LOWRANK_ERROR(parse_color(bad), ErrorKind::invalid_argument, "expected '#rrggbb'");
  }
}

TEST(Resample, EqualsPillowAndTheExactAreaMean) {
  const Json& json = golden()["resample"];
  const auto source = json["rgb"].get<std::vector<uint8_t>>();
  const Size from = {json["width"], json["height"]};
  for (const auto& want : json["cases"]) {
    const Size to = {want["width"], want["height"]};
    SCOPED_TRACE(want["filter"].get<std::string>() + " " + to_string(to));
    const auto got = resample(source, from, to, 3, want["filter"] == "area" ? Filter::area : Filter::lanczos);
    EXPECT_LE(difference(got, want["rgb"].get<std::vector<uint8_t>>()), 1);
  }
  EXPECT_EQ(resample(source, from, from, 3, Filter::lanczos), source);
}

TEST(Resample, ChoosesAreaUnlessASideGrows) {
  EXPECT_EQ(choose_filter({10, 10}, {10, 9}), Filter::area);
  EXPECT_EQ(choose_filter({10, 10}, {11, 9}), Filter::lanczos);
  EXPECT_LOWRANK_ERROR(resample({1, 2, 3}, {1, 1}, {0, 1}, 3, Filter::area), ErrorKind::internal, "to be made 0x1");
}

}  // namespace
}  // namespace lowrank::data
