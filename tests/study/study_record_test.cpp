#include "lowrank/study/study_record.h"

#include <cmath>
#include <fstream>

#include "study/simulated_study.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"

#include "lowrank/base/file.h"

namespace lowrank::study {
namespace {

TEST(StudyRecord, RunSurvivesJsonExactly) {
  const Study study = test::simulated_study(1, 40);
  for (const study::Run& run : study.runs) {
    const std::string text = format_json_line(to_json(run));
    EXPECT_EQ(format_json_line(to_json(run_from_json(parse_json(text, "run"), "run"))), text) << run_name(run);
  }
}

TEST(StudyRecord, UnknownValuesAreNull) {
  const study::Run run{.method = "lora"};
  const study::Run read = run_from_json(parse_json(format_json_line(to_json(run)), "run"), "run");
  EXPECT_TRUE(std::isnan(read.test_score));
}

TEST(StudyRecord, FolderHoldsTheStudyAndItsRuns) {
  const test::TempDir folder;
  Study study = test::simulated_study(2, 40);
  save_study(folder / "s", study);
  for (const study::Run& run : study.runs) save_run(folder / "s", run);
  const Study read = load_study(folder / "s");
  EXPECT_EQ(to_json(read), to_json(study));
  EXPECT_EQ(read.runs.size(), study.runs.size());
  const study::Run* found = find_run(read, study.runs[3]);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->item_scores, study.runs[3].item_scores);
  EXPECT_EQ(find_run(read, study::Run{.method = "lora", .learning_rate = 5e-4, .seed = 99}), nullptr);
}

TEST(StudyRecord, StrictAboutKeysTypesAndLengths) {
  Json json = to_json(study::Run{.method = "lora"});
  Json unknown = json;
  unknown["sed"] = 1;
  EXPECT_LOWRANK_ERROR(run_from_json(unknown, "r.json"), ErrorKind::file_format, "unknown key 'sed', did you mean 'seed'");
  Json missing = json;
  missing.erase("units");
  EXPECT_LOWRANK_ERROR(run_from_json(missing, "r.json"), ErrorKind::file_format, "expected key 'units', got none");
  Json wrong = json;
  wrong["seed"] = "one";
  EXPECT_LOWRANK_ERROR(run_from_json(wrong, "r.json"), ErrorKind::file_format, "key 'seed' has an unexpected type");
  Json status = json;
  status["status"] = "fine";
  EXPECT_LOWRANK_ERROR(run_from_json(status, "r.json"), ErrorKind::file_format, "expected one of ok, failed, interrupted, got 'fine'");
  Json format = json;
  format["format"] = 1;
  EXPECT_LOWRANK_ERROR(run_from_json(format, "r.json"), ErrorKind::file_format, "expected study format 2, got 1");
}

TEST(StudyRecord, LoadingRefusesRunsOfAnotherStudy) {
  const test::TempDir folder;
  Study study = test::simulated_study(1, 40);
  save_study(folder.path(), study);
  study::Run stranger{.method = "vera", .learning_rate = 1};
  save_run(folder.path(), stranger);
  EXPECT_LOWRANK_ERROR(load_study(folder.path()), ErrorKind::file_format, "got 'vera'");
  std::filesystem::remove_all(folder / "runs");
  study::Run shorter{.method = "lora", .learning_rate = 1, .item_scores = {1, 0, 1}};
  save_run(folder.path(), shorter);
  EXPECT_LOWRANK_ERROR(load_study(folder.path()), ErrorKind::file_format, "each of the 40 test items, got 3");
}

TEST(StudyRecord, TruncatedRunFileIsNamed) {
  const test::TempDir folder;
  save_study(folder.path(), test::simulated_study(1, 40));
  std::filesystem::create_directories(folder / "runs");
  std::ofstream(folder / "runs" / "x.json") << "{\"format\": 1, ";
  EXPECT_LOWRANK_ERROR(load_study(folder.path()), ErrorKind::file_format, "x.json");
}

TEST(StudyRecord, RunNamesAreFileNames) {
  EXPECT_EQ(run_name({.method = "lora", .learning_rate = 5e-4, .seed = 3}), "final-lora-lr0.0005-seed3");
  const std::string odd = run_name({.method = "../lora r=8", .learning_rate = 1, .seed = 1, .phase = RunPhase::search});
  EXPECT_EQ(odd.find('/'), std::string::npos);
  EXPECT_NE(odd, run_name({.method = ".._lora_r_8", .learning_rate = 1, .seed = 1, .phase = RunPhase::search}));
}

TEST(StudyRecord, ScoresByHand) {
  study::Run run{.predicted = {0, 1, 1, 2}};
  score_predictions(run, {0, 0, 1, 1});
  EXPECT_EQ(run.item_scores, (std::vector<double>{1, 0, 1, 0}));
  EXPECT_DOUBLE_EQ(run.test_score, 0.5);
  EXPECT_DOUBLE_EQ(run.macro_f1, (2.0 / 3 + 2.0 / 4) / 2);  // label 2 never occurs, so it has no F1
  EXPECT_LOWRANK_ERROR(score_predictions(run, {0}), ErrorKind::invalid_argument, "each of 1 labels, got 4");
}

}  // namespace
}  // namespace lowrank::study
