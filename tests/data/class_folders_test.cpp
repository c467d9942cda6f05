#include "lowrank/data/images/class_folders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/class_folders.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"

#include "lowrank/base/file.h"
#include "lowrank/data/batches.h"

namespace lowrank::data {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr PictureShape kShape{{16, 12}, 5};

class ClassFoldersTest : public testing::Test {
 protected:
  DataOptions options(const std::string& name = "set") const {
    DataOptions options;
    options.data = (folder_ / name).string();
    options.validation_fraction = options.test_fraction = 0.2;
    return options;
  }
  test::TempDir folder_;
};

TEST_F(ClassFoldersTest, SplitsEveryClassAlikeAndNumbersLabelsByName) {
  test::write_class_folders(folder_ / "set", 10);
  const Split split = prepare_pictures(options(), kShape);
  EXPECT_EQ(split.labels.names, test::kColours);
  std::set<int64_t> ids;
  for (const auto& [part, each] : {std::pair{&split.train, 6}, std::pair{&split.validation, 2}, std::pair{&split.test, 2}}) {
    EXPECT_EQ(part->classes, 3);
    std::vector<int> counts(3);
    for (const Example& example : part->examples) {
      ++counts[static_cast<size_t>(example.labels.at(0))];
      EXPECT_TRUE(ids.insert(example.id).second);
      EXPECT_EQ(example.length(), 5);
    }
    EXPECT_EQ(counts, std::vector<int>(3, each));
  }
  EXPECT_EQ(split.report.pictures.size(), 1U);
  EXPECT_THAT(split.report.to_text(), HasSubstr("each with 6 training, 2 validation, 2 test rows"));
  EXPECT_EQ(prepare_pictures(options(), kShape).report.hash, split.report.hash);
  const std::string before = split.report.hash;
  write_png(folder_ / "set/red/p0.png", test::coloured_square(2, 99));
  EXPECT_NE(prepare_pictures(options(), kShape).report.hash, before);
}

TEST_F(ClassFoldersTest, BatchesHoldThePixelsOfTheirRows) {
  test::write_class_folders(folder_ / "set", 5);
  const Split split = prepare_pictures(options(), kShape);
  const Batch batch = collate(split.train, std::vector<int64_t>{4, 1});
  EXPECT_EQ(batch.sequences(), 0);
  EXPECT_EQ(batch.size(), 2);
  EXPECT_EQ((std::pair{batch.height, batch.width}), (std::pair<int64_t, int64_t>{12, 16}));
  std::vector<uint8_t> row(static_cast<size_t>(split.train.pictures->bytes_each()));
  split.train.pictures->read(1, row);
  EXPECT_TRUE(std::equal(row.begin(), row.end(), batch.pixels.begin() + static_cast<int64_t>(row.size())));
  EXPECT_GT(*std::max_element(row.begin(), row.end()), 200);  // the square is in it
}

TEST_F(ClassFoldersTest, PicturesReadWhenNeededEqualThoseKept) {
  test::write_class_folders(folder_ / "set", 2);
  ImageDataOptions how;
  how.images = (folder_ / "set").string();
  how.layout = "classes";
  how.bucket = false;
  how.resolution = "16x12";
  const auto set = std::make_shared<ImageSet>(read_image_set(how));
  const PictureRows kept(set, how, {5, 0}, 1 << 20), read(set, how, {5, 0}, 0);
  EXPECT_TRUE(kept.is_kept());
  EXPECT_FALSE(read.is_kept());
  EXPECT_EQ(kept.name(0), set->entries[5].sample.name);
  for (const int64_t row : {0, 1}) {
    std::vector<uint8_t> a(3 * 16 * 12), b(3 * 16 * 12, 1);
    kept.read(row, a);
    read.read(row, b);
    EXPECT_EQ(a, b);
  }
}

TEST_F(ClassFoldersTest, FoldersNamedAsPartsAreTheParts) {
  test::write_class_folders(folder_ / "set/train", 4);
  test::write_class_folders(folder_ / "set/val", 2, 50);
  DataOptions how = options();
  how.test_fraction = 0;
  const Split split = prepare_pictures(how, kShape);
  EXPECT_EQ(split.train.size(), 12);
  EXPECT_EQ(split.validation.size(), 6);
  EXPECT_EQ(split.test.size(), 0);
  test::write_class_folders(folder_ / "set/validation", 2, 60);
  EXPECT_LOWRANK_ERROR(prepare_pictures(how, kShape), ErrorKind::invalid_argument, "expected one validation folder");
}

TEST_F(ClassFoldersTest, EqualPicturesInTwoPartsAreLeakage) {
  test::write_class_folders(folder_ / "set/train", 4);
  test::write_class_folders(folder_ / "set/test", 2, 3);  // number 3 is in both
  DataOptions how = options();
  how.validation_fraction = 0;
  EXPECT_LOWRANK_ERROR(prepare_pictures(how, kShape), ErrorKind::invalid_argument, "3 rows in two");
  how.leakage = "drop";
  const Split split = prepare_pictures(how, kShape);
  EXPECT_EQ(split.train.size(), 9);
  EXPECT_EQ(split.test.size(), 6);
  EXPECT_EQ(split.report.dropped_rows, 3);
  const Batch batch = collate(split.test, std::vector<int64_t>{0, 5});
  EXPECT_EQ(batch.labels, (std::vector<int64_t>{0, 2}));
}

TEST_F(ClassFoldersTest, EvaluationWantsTheModelsLabels) {
  test::write_class_folders(folder_ / "set", 2);
  const Evaluation evaluation = prepare_picture_evaluation(folder_ / "set", options(), {test::kColours}, kShape);
  EXPECT_EQ(evaluation.dataset.size(), 6);
  EXPECT_EQ(evaluation.dataset.examples[5].labels, std::vector<int64_t>{2});
  EXPECT_LOWRANK_ERROR(prepare_picture_evaluation(folder_ / "set", options(), {{"blue", "green", "rose"}}, kShape), ErrorKind::file_format,
                       "label 'red' is not among the training labels");
}

TEST_F(ClassFoldersTest, ListsFilesAndFoldersInTheOrderGiven) {
  test::write_class_folders(folder_ / "set", 1);
  const std::string file = (folder_ / "set/red/p0.png").string(), all = (folder_ / "set").string();
  const PictureList list = list_pictures({file, all}, options(), kShape);
  EXPECT_EQ(list.names, (std::vector<std::string>{file, all + "/blue/p0.png", all + "/green/p0.png", all + "/red/p0.png"}));
  const Batch batch = collate(list.dataset, std::vector<int64_t>{0, 3});
  EXPECT_TRUE(std::equal(batch.pixels.begin(), batch.pixels.begin() + 3 * 16 * 12, batch.pixels.begin() + 3 * 16 * 12));
  EXPECT_LOWRANK_ERROR(list_pictures({all + "/none.png"}, options(), kShape), ErrorKind::io, "no such file");
}

TEST_F(ClassFoldersTest, AFileIsNoFolderOfClasses) {
  write_file_atomic(folder_ / "rows.csv", "text,label\n");
  EXPECT_LOWRANK_ERROR(prepare_pictures(options("rows.csv"), kShape), ErrorKind::invalid_argument, "the model reads pictures");
  EXPECT_LOWRANK_ERROR(prepare_pictures(options("none"), kShape), ErrorKind::io, "expected a folder of class folders");
}

}  // namespace
}  // namespace lowrank::data
