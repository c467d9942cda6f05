#include "lowrank/data/options.h"

#include "support/expect_error.h"
#include "support/temp_dir.h"

#include "lowrank/base/file.h"

namespace lowrank::data {
namespace {

TEST(DataOptions, AreDeclaredWithTheirDefaults) {
  DataOptions options;
  OptionTable table;
  declare(table, options);
  table.at("label-column", "--").set_text("section", "--label-column");
  table.at("test-fraction", "--").set_text("0", "--test-fraction");
  EXPECT_EQ(options.label_column, "section");
  EXPECT_EQ(options.test_fraction, 0);
  EXPECT_EQ(table.resolved()["max-length"], 128);
  EXPECT_LOWRANK_ERROR(table.at("leakage", "--").set_text("ignore", "--leakage"), ErrorKind::invalid_argument, "one of error, drop, allow");
}

TEST(LocateFiles, AFolderHoldsItsParts) {
  const test::TempDir folder;
  for (const char* name : {"train.csv", "dev.tsv", "test.jsonl", "about.json", "train.md"}) write_file_atomic(folder / name, "x");
  DataOptions options;
  options.data = folder.path().string();
  const auto files = locate_files(options);
  ASSERT_EQ(files.size(), 3U);
  EXPECT_EQ(files[0].path.filename(), "train.csv");
  EXPECT_EQ(files[1].path.filename(), "dev.tsv");
  EXPECT_EQ(files[1].part, Part::validation);
  write_file_atomic(folder / "train.jsonl", "x");
  EXPECT_LOWRANK_ERROR(locate_files(options), ErrorKind::invalid_argument, "expected one train file, got train.csv and train.jsonl");
}

TEST(LocateFiles, OneFileStandsForTraining) {
  const test::TempDir folder;
  write_file_atomic(folder / "a.csv", "x");
  write_file_atomic(folder / "b.csv", "x");
  DataOptions options;
  options.data = (folder / "a.csv").string();
  EXPECT_EQ(locate_files(options).size(), 1U);
  options.test_file = (folder / "b.csv").string();
  EXPECT_EQ(locate_files(options).back().part, Part::test);
}

TEST(LocateFiles, SaysWhatIsMissingOrTooMuch) {
  const test::TempDir folder;
  DataOptions options;
  EXPECT_LOWRANK_ERROR(locate_files(options), ErrorKind::invalid_argument, "expected either --data or --train-file, got neither");
  options.data = folder.path().string();
  EXPECT_LOWRANK_ERROR(locate_files(options), ErrorKind::invalid_argument, "expected train.jsonl, train.csv or train.tsv");
  options.data = (folder / "none.csv").string();
  EXPECT_LOWRANK_ERROR(locate_files(options), ErrorKind::io, "no such file");
  options.train_file = options.data;
  EXPECT_LOWRANK_ERROR(locate_files(options), ErrorKind::invalid_argument, "got both");
}

}  // namespace
}  // namespace lowrank::data
