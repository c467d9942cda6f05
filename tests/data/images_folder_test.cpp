#include "support/expect_error.h"
#include "support/temp_dir.h"

#include "lowrank/base/file.h"
#include "lowrank/data/images/folder.h"
#include "lowrank/data/images/metadata.h"

namespace lowrank::data {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// Files with the text given; scanning opens no picture, so any text stands for one.
void write(const test::TempDir& folder, const std::vector<std::pair<std::string, std::string>>& files) {
  for (const auto& [name, text] : files) {
    fs::create_directories((folder / name).parent_path());
    write_file_atomic(folder / name, text);
  }
}

ImageDataOptions options_for(const test::TempDir& folder) {
  ImageDataOptions options;
  options.images = (folder / "set").string();
  return options;
}

std::vector<std::string> described(const ImageFolder& folder) {
  std::vector<std::string> lines;
  for (const auto& sample : folder.samples) {
    lines.push_back(fmt::format("{}x{} {}{}", sample.repeats, sample.name, sample.caption, sample.is_prior ? " (prior)" : ""));
  }
  return lines;
}

TEST(ScanFolder, ReadsCaptionsBesidePicturesAndRepeatFolders) {
  const test::TempDir folder;
  write(folder, {{"set/a.png", "p"},
                 {"set/a.txt", "  a cat\n"},
                 {"set/b.JPG", "p"},
                 {"set/b.caption",
                  "\xEF\xBB\xBF"
                  "a dog"},
                 {"set/5_sks dog/c.webp", "p"},
                 {"set/5_sks dog/c.txt", "an owl"},
                 {"set/5_sks dog/more/d.avif", "p"},
                 {"set/5_sks dog/more/d.txt", ""},
                 {"set/x_1/e.gif", "p"},
                 {"set/x_1/e.txt", "five"}});
  const auto found = scan_folder(options_for(folder));
  EXPECT_EQ(found.layout, "captions");
  EXPECT_THAT(described(found),
              ElementsAre("5x5_sks dog/c.webp an owl", "5x5_sks dog/more/d.avif ", "1xa.png a cat", "1xb.JPG a dog", "1xx_1/e.gif five"));
  EXPECT_THAT(found.empty_captions, ElementsAre("5_sks dog/more/d.avif"));
}

TEST(ScanFolder, RefusesPicturesWithoutCaptionAndCaptionsWithoutPictureByName) {
  const test::TempDir folder;
  write(folder, {{"set/a.png", "p"}, {"set/b.txt", "lost"}, {"set/5_sks/c.png", "p"}, {"set/d.png", "p"}, {"set/d.txt", "good"}});
  auto options = options_for(folder);
  EXPECT_LOWRANK_ERROR(scan_folder(options), ErrorKind::file_format, "a.png: no caption (expected a.txt)");
  EXPECT_LOWRANK_ERROR(scan_folder(options), ErrorKind::file_format, "5_sks/c.png: no caption");
  EXPECT_LOWRANK_ERROR(scan_folder(options), ErrorKind::file_format, "b.txt: a caption without picture");
  options.missing_captions = "empty";
  EXPECT_LOWRANK_ERROR(scan_folder(options), ErrorKind::file_format, "b.txt: a caption without picture");
  options.orphans = "report";
  const auto found = scan_folder(options);
  EXPECT_THAT(found.missing_captions, ElementsAre("5_sks/c.png", "a.png"));
  EXPECT_THAT(found.orphans, ElementsAre("b.txt: a caption without picture"));
  EXPECT_EQ(found.samples.size(), 3U);
  options.missing_captions = "folder";
  EXPECT_LOWRANK_ERROR(scan_folder(options), ErrorKind::file_format, "a.png: no caption");  // the top folder's name says nothing
  write(folder, {{"set/a.txt", "now"}});
  EXPECT_EQ(scan_folder(options).samples.front().caption, "sks");
}

TEST(ScanFolder, NamesWhatItDoesNotRead) {
  const test::TempDir folder;
  write(folder, {{"set/a.png", "p"}, {"set/a.txt", "x"}, {"set/notes.pdf", "p"}, {"set/.hidden.png", "p"}, {"set/.git/b.png", "p"}});
  EXPECT_THAT(scan_folder(options_for(folder)).other_files, ElementsAre(".git/", ".hidden.png", "notes.pdf"));
}

TEST(ScanFolder, RefusesTwoCaptionsAndBadText) {
  const test::TempDir folder;
  write(folder, {{"set/a.png", "p"}, {"set/a.txt", "x"}, {"set/a.caption", "y"}, {"set/b.png", "p"}, {"set/b.txt", "\xFF\xFE"}});
  EXPECT_LOWRANK_ERROR(scan_folder(options_for(folder)), ErrorKind::file_format, "a.png: expected one caption, got a.caption and a.txt");
  EXPECT_LOWRANK_ERROR(scan_folder(options_for(folder)), ErrorKind::file_format, "b.txt: expected UTF-8 text");
}

TEST(ScanFolder, ReadsMetadataAndNamesUnusedKeysAndCaptionFiles) {
  const test::TempDir folder;
  write(folder, {{"set/in/a.png", "p"},
                 {"set/b.png", "p"},
                 {"set/b.txt", "unused"},
                 {"set/metadata.jsonl",
                  "{\"file_name\": \"./in/a.png\", \"text\": \"a cat\", \"group\": 1}\n\n"
                  "{\"file_name\": \"b.png\", \"prompt\": \" a dog \"}\n"}});
  const auto found = scan_folder(options_for(folder));
  EXPECT_EQ(found.layout, "metadata");
  EXPECT_THAT(described(found), ElementsAre("1xb.png a dog", "1xin/a.png a cat"));
  EXPECT_THAT(found.unused_keys, ElementsAre("group"));
  EXPECT_THAT(found.unused_captions, ElementsAre("b.txt"));
  auto options = options_for(folder);
  options.layout = "captions";
  options.missing_captions = "empty";
  EXPECT_THAT(scan_folder(options).other_files, ElementsAre("metadata.jsonl"));
}

TEST(ScanFolder, MetadataAndFolderMustNameTheSamePictures) {
  const test::TempDir folder;
  write(folder, {{"set/a.png", "p"},
                 {"set/b.png", "p"},
                 {"set/metadata.jsonl", "{\"file_name\": \"a.png\", \"text\": \"x\"}\n{\"file_name\": \"gone.png\", \"text\": \"x\"}\n"}});
  EXPECT_LOWRANK_ERROR(scan_folder(options_for(folder)), ErrorKind::file_format, "metadata.jsonl:2: no such picture: gone.png");
  EXPECT_LOWRANK_ERROR(scan_folder(options_for(folder)), ErrorKind::file_format, "b.png: no caption");
}

TEST(Metadata, RefusesEveryBadLineAtOnce) {
  const test::TempDir folder;
  write(folder, {{"m.jsonl",
                  "{\"file_name\": \"a.png\"}\n{\"text\": \"x\"}\n{\"file_name\": \"../a.png\"}\n{\"file_name\": \"a.png\"}\n"
                  "{\"file_name\": \"b.png\", \"text\": 1}\n{\"file_name\": \"c.png\", \"text\": \"1\", \"prompt\": \"2\"}\n[\n7\n"}});
  for (const char* says : {"line 2: expected a text 'file_name'", "line 3: expected a file in this folder, got '../a.png'",
                           "line 4: 'a.png' is there twice (line 1)", "line 5: expected a text as 'text'",
                           "line 6: expected one of 'text', 'caption', 'prompt', got several", "line 7: ", "line 8: expected an object"}) {
    EXPECT_LOWRANK_ERROR(read_metadata(folder / "m.jsonl"), ErrorKind::file_format, says);
  }
}

TEST(ScanFolder, ClassesAreTheFirstFolders) {
  const test::TempDir folder;
  write(folder, {{"set/cat/a.png", "p"}, {"set/cat/deep/b.png", "p"}, {"set/5_dog/c.png", "p"}, {"set/5_dog/c.txt", "unused"}});
  auto options = options_for(folder);
  options.layout = "classes";
  const auto found = scan_folder(options);
  std::vector<std::string> labels;
  for (const auto& sample : found.samples) labels.push_back(sample.label);
  EXPECT_THAT(labels, ElementsAre("5_dog", "cat", "cat"));
  EXPECT_EQ(found.samples[0].repeats, 1);
  EXPECT_THAT(found.unused_captions, ElementsAre("5_dog/c.txt"));
  write(folder, {{"set/e.png", "p"}});
  EXPECT_LOWRANK_ERROR(scan_folder(options), ErrorKind::file_format, "e.png: lies outside the class folders");
}

TEST(ScanFolder, MasksHaveTheNamesOfPictures) {
  const test::TempDir folder;
  write(folder, {{"set/a.png", "p"},
                 {"set/a.txt", "x"},
                 {"set/in/b.jpg", "p"},
                 {"set/in/b.txt", "x"},
                 {"set/masks/a.png", "m"},
                 {"set/masks/in/b.png", "m"}});
  auto options = options_for(folder);
  options.masks = (folder / "set/masks").string();
  const auto found = scan_folder(options);
  ASSERT_EQ(found.samples.size(), 2U) << "masks inside the folder are no pictures";
  EXPECT_EQ(found.samples[1].mask, folder / "set/masks" / "in/b.png");
  write(folder, {{"set/c.png", "p"}, {"set/c.txt", "x"}, {"set/masks/lost.png", "m"}});
  EXPECT_LOWRANK_ERROR(scan_folder(options), ErrorKind::file_format, "c.png: no mask of that name");
  EXPECT_LOWRANK_ERROR(scan_folder(options), ErrorKind::file_format, "lost.png: a mask without picture");
  options.missing_masks = "full";
  options.orphans = "report";
  EXPECT_THAT(scan_folder(options).missing_masks, ElementsAre("c.png"));
  EXPECT_THAT(scan_folder(options).orphans, ElementsAre("lost.png: a mask without picture"));
}

TEST(ScanFolder, PriorPicturesComeLastWithTheirFolderAsCaption) {
  const test::TempDir folder;
  write(folder, {{"set/z.png", "p"}, {"set/z.txt", "x"}, {"prior/2_dog/a.png", "p"}});
  auto options = options_for(folder);
  options.prior_images = (folder / "prior").string();
  EXPECT_LOWRANK_ERROR(scan_folder(options), ErrorKind::file_format, "2_dog/a.png: no caption");
  options.missing_captions = "folder";
  EXPECT_THAT(described(scan_folder(options)), ElementsAre("1xz.png x", "2x2_dog/a.png dog (prior)"));
}

TEST(ScanFolder, RefusesMissingAndEmptyFolders) {
  const test::TempDir folder;
  EXPECT_LOWRANK_ERROR(scan_folder(options_for(folder)), ErrorKind::invalid_argument, "expected a folder, got");
  write(folder, {{"set/a.txt", "x"}});
  EXPECT_LOWRANK_ERROR(scan_folder(options_for(folder)), ErrorKind::invalid_argument, "expected pictures");
}

}  // namespace
}  // namespace lowrank::data
