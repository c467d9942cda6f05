#include <algorithm>
#include <set>

#include "support/expect_error.h"
#include "support/temp_dir.h"

#include "lowrank/base/file.h"
#include "lowrank/data/images/contact_sheet.h"
#include "lowrank/data/images/image_set.h"

namespace lowrank::data {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// Left half of one colour, right half of another.
Picture halves(Size size, Color left, Color right) {
  Picture picture{size, {}, {}, {}};
  for (int64_t i = 0; i < size.area(); ++i) {
    const Color& color = i % size.width < size.width / 2 ? left : right;
    picture.rgb.insert(picture.rgb.end(), color.begin(), color.end());
  }
  return picture;
}

/// A folder of three pictures for 64x64 training: square, wide, and small.
class ImageSetTest : public testing::Test {
 protected:
  ImageSetTest() {
    fs::create_directories(folder_ / "set/3_owl");
    add("a.png", {64, 64}, "a red cat");
    add("wide.png", {200, 100}, "a wide cat, running");
    add("3_owl/small.png", {20, 20}, "an owl");
    options_.images = (folder_ / "set").string();
    options_.resolution = "64";
    options_.bucket_min = 32;
    options_.bucket_max = 128;
    options_.bucket_step = 8;
  }

  void add(const std::string& name, Size size, const std::string& caption) {
    write_png(folder_ / ("set/" + name), halves(size, {200, 30, 30}, {30, 30, static_cast<uint8_t>(size.width)}));
    write_file_atomic(fs::path(folder_ / ("set/" + name)).replace_extension(".txt"), caption);
  }

  test::TempDir folder_;
  ImageDataOptions options_;
};

TEST_F(ImageSetTest, PlacesAndReportsEveryPicture) {
  const ImageSet set = read_image_set(options_);
  ASSERT_EQ(set.size(), 3);
  EXPECT_EQ(set.entries[0].placement, (Placement{{64, 64}, {64, 64}, 0, 0}));
  EXPECT_EQ(set.entries[2].placement, (Placement{{88, 40}, {88, 44}, 0, 2}));
  const ImageReport& report = set.report;
  EXPECT_EQ(report.pictures, 3);
  EXPECT_EQ(report.draws, 5);
  ASSERT_EQ(report.buckets.size(), 2U);
  EXPECT_EQ(report.buckets[0].draws, 4);
  ASSERT_EQ(report.upscaled.size(), 1U);
  EXPECT_EQ(report.upscaled[0].name, "3_owl/small.png");
  EXPECT_DOUBLE_EQ(report.upscaled[0].figure, 3.2);
  EXPECT_NEAR(report.mean_cropped, (1 - 40.0 / 44) / 3, 1e-12);
  EXPECT_EQ(set.batcher({.batch_size = 2}).draws_per_epoch(), 5);
  EXPECT_EQ(report.hash.size(), 64U);
  EXPECT_EQ(report.hash, read_image_set(options_).report.hash);
}

TEST_F(ImageSetTest, FindsDuplicatesLongPromptsAndSeveralLines) {
  fs::copy_file(folder_ / "set/a.png", folder_ / "set/b.png");
  write_file_atomic(folder_ / "set/b.txt", "first\nsecond");
  options_.caption.trigger = "sks";
  const TokenCounter counter{[](const std::string& text) { return 1 + std::count(text.begin(), text.end(), ' '); }, 3};
  const ImageReport report = read_image_set(options_, counter).report;
  EXPECT_THAT(report.duplicates, ElementsAre(ElementsAre("a.png", "b.png")));
  EXPECT_THAT(report.several_lines, ElementsAre("b.png"));
  ASSERT_EQ(report.long_prompts.size(), 2U);
  EXPECT_EQ(report.long_prompts[0].name, "wide.png");
  EXPECT_EQ(report.long_prompts[0].figure, 5);
  EXPECT_THAT(report.captions, ElementsAre("sks, an owl", "sks, a red cat", "sks, first"));
  options_.long_prompts = "error";
  EXPECT_LOWRANK_ERROR(read_image_set(options_, counter), ErrorKind::file_format, "wide.png: expected at most 3 tokens, got 5");
}

TEST_F(ImageSetTest, BrokenPicturesAreAllNamedOrLeftOutByName) {
  const fs::path goldens = fs::path(LOWRANK_SOURCE_DIR) / "tests/golden/data/pictures";
  for (const char* name : {"cut.jpg", "empty.png", "text.png", "moving.gif", "huge.png"}) {
    fs::copy_file(goldens / name, folder_ / (std::string("set/") + name));
    write_file_atomic(fs::path(folder_ / (std::string("set/") + name)).replace_extension(".txt"), "x");
  }
  for (const char* says :
       {"cut.jpg: expected a whole JPEG", "empty.png: expected a picture, got an empty file", "text.png: expected a JPEG, PNG",
        "moving.gif: expected a still picture", "huge.png: expected at most 100 megapixels"}) {
    EXPECT_LOWRANK_ERROR(read_image_set(options_), ErrorKind::file_format, says);
  }
  options_.broken_pictures = "skip";
  const ImageSet set = read_image_set(options_);
  EXPECT_EQ(set.size(), 3);
  EXPECT_EQ(set.report.broken.size(), 5U);
  EXPECT_THAT(set.report.to_text(), HasSubstr("broken      5 files left out\n"));
  EXPECT_THAT(set.report.to_text(), HasSubstr("empty.png: expected a picture, got an empty file (0 bytes)"));
  ASSERT_EQ(set.report.folders.size(), 2U);
  EXPECT_EQ(set.report.folders[0].pictures, 2) << "broken ones do not count";
}

TEST_F(ImageSetTest, PicturesTooSmallForOneStepAreAllNamed) {
  options_.no_upscale = true;
  EXPECT_EQ(read_image_set(options_).report.buckets.front().size, (Size{16, 16}));
  add("tiny.png", {7, 40}, "x");
  add("flat.png", {40, 5}, "x");
  EXPECT_LOWRANK_ERROR(read_image_set(options_), ErrorKind::invalid_argument, "tiny.png: expected a picture of at least 8x8");
  EXPECT_LOWRANK_ERROR(read_image_set(options_), ErrorKind::invalid_argument, "flat.png: expected a picture of at least 8x8");
}

TEST_F(ImageSetTest, ThreadsChangeNothing) {
  for (int i = 0; i < 20; ++i) add(fmt::format("p{}.png", i), {30 + i, 50}, "x");
  options_.threads = 1;
  const auto one = read_image_set(options_).report.to_json();
  options_.threads = 4;
  int64_t done = 0;
  EXPECT_EQ(one, read_image_set(options_, {}, [&](const Progress& progress) { done = progress.done; }).report.to_json());
  EXPECT_EQ(done, 23);
}

TEST_F(ImageSetTest, TextReportSaysWhatWasCounted) {
  write_file_atomic(folder_ / "set/Thumbs.db", "x");
  write_file_atomic(folder_ / "set/lost.txt", "x");
  options_.orphans = "report";
  const std::string text = read_image_set(options_).report.to_text();
  EXPECT_THAT(text, HasSubstr("3 pictures, captions from captions"));
  EXPECT_THAT(text, HasSubstr("5 showings"));
  EXPECT_THAT(text, HasSubstr("3_owl  1 picture × 3"));
  EXPECT_THAT(text, HasSubstr("no caption  none"));
  EXPECT_THAT(text, HasSubstr("88x40               1        1"));
  EXPECT_THAT(text, HasSubstr("upscaled    1: 3_owl/small.png (3.20x)"));
  EXPECT_THAT(text, HasSubstr("orphans     1: lost.txt: a caption without picture"));
  EXPECT_THAT(text, HasSubstr("other files 1: Thumbs.db"));
}

TEST_F(ImageSetTest, ClassesAreNumberedInSortedOrder) {
  fs::create_directories(folder_ / "classes/owl");
  fs::create_directories(folder_ / "classes/cat");
  write_png(folder_ / "classes/owl/1.png", halves({10, 10}, {1, 2, 3}, {4, 5, 6}));
  write_png(folder_ / "classes/cat/1.png", halves({10, 10}, {1, 2, 4}, {4, 5, 6}));
  options_.images = (folder_ / "classes").string();
  options_.layout = "classes";
  options_.bucket = false;
  const ImageSet set = read_image_set(options_);
  EXPECT_THAT(set.labels, ElementsAre("cat", "owl"));
  EXPECT_EQ(set.entries[1].label, 1);
  EXPECT_EQ(set.entries[1].placement.bucket, (Size{64, 64}));
  EXPECT_THAT(set.report.to_text(), HasSubstr("classes     cat"));
}

TEST_F(ImageSetTest, PreparedPicturesAreCutAndMirroredWithTheirMasks) {
  fs::create_directories(folder_ / "masks/3_owl");
  for (const auto& [name, size] :
       {std::pair<std::string, Size>{"a.png", {64, 64}}, {"wide.png", {200, 100}}, {"3_owl/small.png", {20, 20}}}) {
    write_png(folder_ / ("masks/" + name), halves(size, {255, 255, 255}, {0, 0, 0}));
  }
  options_.masks = (folder_ / "masks").string();
  const ImageSet set = read_image_set(options_);
  EXPECT_EQ(set.report.masks, 3);
  const auto plain = set.prepare(2, options_, false), mirrored = set.prepare(2, options_, true);
  EXPECT_EQ(plain.picture.size, (Size{88, 40}));
  ASSERT_EQ(plain.picture.rgb.size(), 88U * 40U * 3U);
  ASSERT_EQ(plain.mask.size(), 88U * 40U);
  EXPECT_EQ(plain.picture.rgb[0], 200);
  EXPECT_EQ(plain.mask[0], 255);
  EXPECT_EQ(mirrored.picture.rgb[0], 30);
  EXPECT_EQ(mirrored.mask[0], 0);
  for (int64_t x = 0; x < 88; ++x)
    EXPECT_EQ(plain.picture.rgb[static_cast<size_t>(x * 3)], mirrored.picture.rgb[static_cast<size_t>((87 - x) * 3)]);
  write_png(folder_ / "masks/a.png", halves({32, 64}, {0, 0, 0}, {0, 0, 0}));
  EXPECT_LOWRANK_ERROR(read_image_set(options_), ErrorKind::file_format, "expected a mask of 64x64, the size of a.png, got 32x64");
}

TEST_F(ImageSetTest, AlphaIsAMaskOnRequest) {
  fs::copy_file(fs::path(LOWRANK_SOURCE_DIR) / "tests/golden/data/pictures/alpha.webp", folder_ / "set/alpha.webp");
  write_file_atomic(folder_ / "set/alpha.txt", "x");
  options_.masks = "alpha";
  options_.background = "black";
  const ImageSet set = read_image_set(options_);
  EXPECT_EQ(set.report.masks, 1);
  const auto at = std::find_if(set.entries.begin(), set.entries.end(), [](const auto& entry) { return entry.sample.name == "alpha.webp"; });
  const auto prepared = set.prepare(at - set.entries.begin(), options_, false);
  ASSERT_EQ(static_cast<int64_t>(prepared.mask.size()), prepared.picture.size.area());
  EXPECT_LT(prepared.mask.front(), 20);
  EXPECT_GT(prepared.mask[static_cast<size_t>(prepared.picture.size.width) - 1], 220);
  EXPECT_TRUE(set.prepare(0, options_, false).mask.empty());
}

TEST_F(ImageSetTest, KeysFollowContentAndRecipeNotNames) {
  fs::copy_file(folder_ / "set/a.png", folder_ / "set/b.png");
  fs::copy_file(folder_ / "set/a.txt", folder_ / "set/b.txt");
  const ImageSet set = read_image_set(options_);
  const auto key = [&](int64_t entry, const ImageDataOptions& options, bool mirrored) {
    const auto& item = set.entries[static_cast<size_t>(entry)];
    return picture_key(item.content_hash, item.mask_hash, set.recipe(entry, options, mirrored));
  };
  EXPECT_EQ(key(1, options_, false), key(2, options_, false)) << "a.png and b.png hold the same bytes";
  auto other = options_;
  other.background = "black";
  const std::set<std::string> keys = {key(1, options_, false), key(1, options_, true), key(0, options_, false), key(1, other, false),
                                      picture_key(set.entries[1].content_hash, "mask", set.recipe(1, options_, false))};
  EXPECT_EQ(keys.size(), 5U);
}

TEST(IsMirrored, IsAFairCoinOfSeedEpochAndDraw) {
  int heads = 0;
  for (uint64_t draw = 0; draw < 2000; ++draw) heads += is_mirrored(1, 2, draw);
  EXPECT_NEAR(heads, 1000, 90);
  std::vector<bool> one, two;
  for (uint64_t draw = 0; draw < 64; ++draw) {
    one.push_back(is_mirrored(1, 2, draw));
    two.push_back(is_mirrored(1, 3, draw));
  }
  EXPECT_NE(one, two);
}

TEST_F(ImageSetTest, ContactSheetShowsPreparedPicturesInTheirCells) {
  const ImageSet set = read_image_set(options_);
  const Sheet sheet = contact_sheet(set, options_, {.columns = 2, .cell = 40, .gap = 4});
  EXPECT_EQ(sheet.picture.size, (Size{2 * 44 + 4, 2 * 44 + 4}));
  EXPECT_THAT(sheet.entries, ElementsAre(0, 1, 2));
  const auto red = [&](int64_t x, int64_t y) { return sheet.picture.rgb[static_cast<size_t>((y * sheet.picture.size.width + x) * 3)]; };
  EXPECT_EQ(red(0, 0), 40) << "ground";
  EXPECT_EQ(red(6, 6), 200) << "the first picture's left half";
  EXPECT_EQ(red(4 + 35, 6), 30) << "and its right half";
  EXPECT_EQ(red(6, 48 + 2), 40) << "a wide picture leaves ground above";
  EXPECT_EQ(red(6, 48 + 20), 200);
  EXPECT_THAT(contact_sheet(set, options_, {.pictures = 2}).entries, ElementsAre(0, 1));
}

TEST(ImageDataOptions, AreDeclaredOnceAndRead) {
  ImageDataOptions options;
  OptionTable table;
  declare(table, options);
  table.apply(Json{{"resolution", "768x512"}, {"bucket_step", 32}, {"background", "#102030"}, {"shuffle-captions", true}}, "file");
  EXPECT_EQ(bucket_options(options).resolution, (Size{768, 512}));
  EXPECT_EQ(bucket_options(options).step, 32);
  EXPECT_EQ(read_options(options).background, (Color{16, 32, 48}));
  EXPECT_TRUE(options.caption.shuffle);
  for (const char* bad : {"", "x", "512x", "0", "-4", "5e2", "512x512x3"}) {
    options.resolution = bad;
    EXPECT_LOWRANK_ERROR(bucket_options(options), ErrorKind::invalid_argument, "expected a side such as 512");
  }
}

}  // namespace
}  // namespace lowrank::data
