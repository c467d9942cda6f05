#include "lowrank/study/measures.h"

#include <cmath>
#include <gmock/gmock.h>

#include "study/drawn_study.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"

#include "lowrank/study/format.h"
#include "lowrank/study/report.h"

namespace lowrank::study {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const SummaryOptions kQuick{.bootstrap_draws = 200};

TEST(Measures, ClosenessByHand) {
  const Measure measure{.name = "m", .title = "m", .base = {0.5, 0.7}, .best = {0.1, 0.3}};
  EXPECT_DOUBLE_EQ(scale_of(measure), 0.4);
  const auto scores = closeness(measure, {0.5, 0.5});
  EXPECT_NEAR(scores[0], 0, 1e-12);
  EXPECT_NEAR(scores[1], 0.5, 1e-12);
  EXPECT_NEAR(mean_of(closeness(measure, measure.best)), 1, 1e-12);
  EXPECT_LOWRANK_ERROR(closeness(measure, {0.5}), ErrorKind::invalid_argument, "each of 2 items, got 1");
}

TEST(Measures, WithoutAnythingBetterTheBaseIsTheScale) {
  const Measure worse{.name = "m", .title = "m", .base = {0.5, 0.7}, .best = {0.8, 0.8}};
  EXPECT_FALSE(has_best(worse));
  EXPECT_DOUBLE_EQ(scale_of(worse), 0.6);
  EXPECT_DOUBLE_EQ(scale_of({.name = "m", .title = "m", .base = {0, 0}, .best = {0, 0}}), 1);
}

TEST(Measures, EachMeasureHasItsOwnMeansAndPairs) {
  const Study study = test::drawn_study();
  const Summary summary = summarize(study, kQuick);
  ASSERT_EQ(summary.measures.size(), 3u);
  EXPECT_NEAR(find_method(summary, "lora")->score.mean, 0.5, 0.01);
  EXPECT_NEAR(find_method(summary.measures[1], "lora")->score.mean, 0, 0.01);
  EXPECT_NEAR(find_method(summary.measures[2], "lora")->score.mean, -0.2, 0.01);
  const auto gap = find_difference(summary, "lora", "lokr");
  ASSERT_TRUE(gap);
  // A difference of closeness is that of the distances over the scale, item by item.
  const double distances = mean_distance(study, "lokr", study.measures[0]) - mean_distance(study, "lora", study.measures[0]);
  EXPECT_NEAR(gap->estimate.mean, distances / scale_of(study.measures[0]), 1e-12);
  EXPECT_EQ(gap->verdict, Verdict::better);
  EXPECT_EQ(find_difference(summary.measures[1], "lora", "lokr")->verdict, Verdict::no_difference_shown);
  EXPECT_EQ(summary.recommendation.method, "lora");
}

TEST(Measures, DrawingNoiseCoversAnotherDrawing) {
  // The half width holds the difference of two drawings' means in 95 of 100 studies.
  int inside = 0;
  for (uint64_t trial = 0; trial < 400; ++trial) {
    RandomStream draw(trial, "drawings");
    Measure measure{.name = "m", .title = "m"};
    for (int i = 0; i < 50; ++i) {
      const double item = draw.normal();
      measure.base.push_back(3 + item + 0.5 * draw.normal());
      measure.base_again.push_back(3 + item + 0.5 * draw.normal());
      measure.best.push_back(0);
    }
    const double gap = (mean_of(measure.base) - mean_of(measure.base_again)) / scale_of(measure);
    inside += std::abs(gap) < drawing_noise(measure);
  }
  EXPECT_GT(inside, 366);
  EXPECT_LT(inside, 394);
  EXPECT_TRUE(std::isnan(drawing_noise({.name = "m", .title = "m", .base = {1, 2}, .best = {0, 0}})));
}

TEST(Measures, RatesAreChosenByTheLossWhereThereIsNoScore) {
  Study study = test::drawn_study();
  for (const auto& [rate, loss] : {std::pair(1e-3, 0.30), std::pair(3e-3, 0.25), std::pair(1e-2, 0.40)}) {
    study::Run run{.method = "lora", .learning_rate = rate, .seed = 1, .phase = RunPhase::search};
    run.curve = {{.step = 1, .validation_loss = 0.9}, {.step = 2, .validation_loss = loss}, {.step = 3, .validation_loss = 0.5}};
    study.runs.push_back(run);
  }
  EXPECT_EQ(choose_learning_rate(study, "lora"), 3e-3);
}

TEST(Measures, CautionsNameForgettingAndWhatIsNotShownNearer) {
  const auto cautions = [](const Study& study) {
    return fmt::format("{}", fmt::join(summarize(study, kQuick).recommendation.cautions, "\n"));
  };
  EXPECT_THAT(cautions(test::drawn_study()), HasSubstr("the base draws its own pictures worse"));
  EXPECT_THAT(cautions(test::drawn_study()), Not(HasSubstr("not shown to come closer")));
  EXPECT_THAT(cautions(test::drawn_study(60, 0.003)), HasSubstr("not shown to come closer to the true pictures"));
  const Recommendation none = summarize(test::drawn_study(60, -0.1), kQuick).recommendation;
  EXPECT_EQ(none.method, "");
  EXPECT_THAT(none.sentence, HasSubstr("no method comes closer"));
}

TEST(Measures, RecordsSurviveAndRefuseOtherLengths) {
  const test::TempDir folder;
  Study study = test::drawn_study();
  save_study(folder.path(), study);
  for (const study::Run& run : study.runs) save_run(folder.path(), run);
  const Study read = load_study(folder.path());
  EXPECT_EQ(to_json(read), to_json(study));
  EXPECT_EQ(read.runs.front().distances, find_run(study, read.runs.front())->distances);
  study.runs[0].distances["pixel"].pop_back();
  save_run(folder.path(), study.runs[0]);
  EXPECT_LOWRANK_ERROR(load_study(folder.path()), ErrorKind::file_format, "the pixel distance of each of 60 items, got 59");
}

TEST(Measures, ThePageHoldsThePicturesAndEveryTableIsFull) {
  const test::TempDir folder;
  const Study study = test::drawn_study();
  test::write_pictures(folder.path(), study);
  const ReportFiles files = write_report(folder.path(), study, kQuick);
  const std::string html = read_file(files.html), markdown = read_file(files.markdown);
  EXPECT_THAT(html, HasSubstr("src=\"data:image/png;base64," + base64("truth0") + "\""));
  EXPECT_THAT(html, HasSubstr("src=\"data:image/png;base64," + base64("final-lora-lr0.001-seed11") + "\""));
  EXPECT_THAT(html, HasSubstr("a &#60;b&#62;bat"));
  EXPECT_THAT(html, Not(HasSubstr("src=\"pictures")));
  EXPECT_THAT(markdown, HasSubstr("![](pictures/base/test-1.png)"));
  for (const std::string text : {"Forgetting", "By the other measures", "base, before adaptation", "Validation loss under fixed noise"}) {
    EXPECT_THAT(html, HasSubstr(text));
  }
  EXPECT_THAT(html, Not(HasSubstr("Macro F1")));
  const Document document = make_document(study, summarize(study, kQuick), folder.path());
  for (const Section& section : document.sections) {
    for (const Block& block : section.blocks) {
      for (const auto& row : block.table.rows) EXPECT_EQ(row.size(), block.table.columns.size()) << section.id;
      for (const auto& row : block.pictures.rows) EXPECT_EQ(row.bytes.size(), block.pictures.columns.size());
    }
  }
  const Json json = read_json(files.json);
  EXPECT_EQ(json["summary"]["measures"].size(), 3u);
  EXPECT_EQ(json["summary"]["measures"][2]["of"], "forgetting");
  EXPECT_FALSE(json["study"]["measures"][0].contains("base"));
}

TEST(Format, Base64OfTheStandardsExamples) {
  for (const auto& [bytes, text] :
       {std::pair("", ""), std::pair("f", "Zg=="), std::pair("fo", "Zm8="), std::pair("foo", "Zm9v"), std::pair("foobar", "Zm9vYmFy")}) {
    EXPECT_EQ(base64(bytes), text);
  }
  EXPECT_EQ(base64("\xff\xfe\xfd"), "//79");
}

}  // namespace
}  // namespace lowrank::study
