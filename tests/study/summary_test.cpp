#include "lowrank/study/summary.h"

#include <cmath>
#include <gmock/gmock.h>

#include "study/simulated_study.h"
#include "support/expect_error.h"

namespace lowrank::study {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

/// Each method answers the first `right` of `items` test items; over three seeds -jitter, 0, +jitter more, in another order for each.
struct Method {
  std::string name;
  int64_t right;
  double bytes = 1e6, seconds = 10;
};

Study exact_study(const std::vector<Method>& methods, int64_t seeds, int64_t jitter, int64_t items = 1000) {
  Study study{.reference = methods.front().name, .label_names = {"no", "yes"}, .majority_label = 0};
  for (int64_t i = 0; i < items; ++i) study.test_labels.push_back(static_cast<int32_t>(i % 2));
  for (const Method& method : methods) {
    study.methods.push_back(method.name);
    for (int64_t seed = 1; seed <= seeds; ++seed) {
      study::Run run{.method = method.name, .learning_rate = 1e-3, .seed = seed, .seconds = method.seconds, .units = 100};
      const int64_t right = method.right + jitter * ((seed + static_cast<int64_t>(study.methods.size())) % 3 - 1);
      for (int64_t i = 0; i < items; ++i) {
        const int32_t label = study.test_labels[static_cast<size_t>(i)];
        run.predicted.push_back(i < right ? label : 1 - label);
      }
      score_predictions(run, study.test_labels);
      run.adapter_bytes = static_cast<int64_t>(method.bytes);
      study.runs.push_back(std::move(run));
    }
  }
  return study;
}

TEST(Summary, MeansCostsAndRecallByHand) {
  const Summary summary = summarize(exact_study({{"lora", 800, 2e6, 20}, {"dora", 900}}, 3, 10));
  const MethodSummary* lora = find_method(summary, "lora");
  ASSERT_NE(lora, nullptr);
  EXPECT_NEAR(lora->score.mean, 0.8, 1e-12);
  EXPECT_NEAR(lora->seed_deviation, 0.01, 1e-12);
  EXPECT_EQ(lora->seeds, (std::vector<int64_t>{1, 2, 3}));
  EXPECT_DOUBLE_EQ(lora->units_per_second, 5);
  EXPECT_NEAR(lora->recall[0], 0.8, 1e-12);
  EXPECT_DOUBLE_EQ(summary.majority_score, 0.5);
  EXPECT_EQ(find_method(summary, "lokr"), nullptr);
}

TEST(Summary, DifferencesTurnRound) {
  const Summary summary = summarize(exact_study({{"lora", 800}, {"dora", 900}}, 3, 3));
  const auto forth = find_difference(summary, "lora", "dora"), back = find_difference(summary, "dora", "lora");
  ASSERT_TRUE(forth && back);
  EXPECT_NEAR(forth->estimate.mean, -0.1, 1e-12);
  EXPECT_NEAR(back->estimate.mean, 0.1, 1e-12);
  EXPECT_DOUBLE_EQ(back->estimate.interval.low, -forth->estimate.interval.high);
  EXPECT_EQ(forth->verdict, Verdict::worse);
  EXPECT_EQ(back->verdict, Verdict::better);
  EXPECT_FALSE(find_difference(summary, "lora", "lokr"));
}

TEST(Summary, SaysNoDifferenceShownWhenThatIsSo) {
  const Summary summary = summarize(exact_study({{"lora", 800}, {"dora", 801}}, 3, 10));
  EXPECT_EQ(find_difference(summary, "dora", "lora")->verdict, Verdict::no_difference_shown);
}

TEST(Summary, OneSeedNeverTellsMethodsApart) {
  const Summary summary = summarize(exact_study({{"lora", 500}, {"dora", 900}}, 1, 0));
  EXPECT_EQ(find_difference(summary, "dora", "lora")->verdict, Verdict::one_seed);
  EXPECT_EQ(summary.recommendation.method, "dora");
  EXPECT_THAT(summary.recommendation.cautions, Contains(HasSubstr("three or more seeds")));
}

TEST(Summary, FailedRunsAreNamedAndSinkNothing) {
  Study study = exact_study({{"lora", 800}, {"dora", 900}}, 3, 3);
  study.runs.back().status = RunStatus::failed;  // dora, seed 3
  study.runs.back().error = "[train] expected a finite loss, got nan";
  const Summary summary = summarize(study);
  EXPECT_EQ(find_method(summary, "dora")->seeds, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(find_difference(summary, "dora", "lora")->estimate.seeds, 2);
  EXPECT_THAT(summary.notes, Contains(HasSubstr("Of 6 runs, 1 failed")));
  EXPECT_THAT(summary.notes, Contains(HasSubstr("dora was tested with 2 of 3 seeds")));
}

TEST(Summary, NothingTestedIsSaid) {
  Study study = exact_study({{"lora", 800}}, 1, 0);
  study.runs[0].status = RunStatus::failed;
  EXPECT_THAT(summarize(study).recommendation.sentence, HasSubstr("no method has a tested run"));
}

TEST(Summary, FinalRunsAtDifferentRatesAreRefused) {
  Study study = exact_study({{"lora", 800}}, 2, 0);
  study.runs[1].learning_rate = 2e-3;
  EXPECT_LOWRANK_ERROR(summarize(study), ErrorKind::invalid_argument, "one learning rate for 'lora'");
}

TEST(Summary, RateIsChosenOnValidationThenLossThenSize) {
  Study study{.methods = {"lora"}};
  const auto add = [&](double rate, double score, double loss, RunStatus status = RunStatus::ok) {
    study::Run run{.method = "lora",
                   .learning_rate = rate,
                   .seed = static_cast<int64_t>(study.runs.size()),
                   .phase = RunPhase::search,
                   .status = status};
    run.curve = {{.step = 1, .validation_loss = 9, .validation_score = 0.1},
                 {.step = 2, .validation_loss = loss, .validation_score = score}};
    study.runs.push_back(run);
  };
  EXPECT_FALSE(choose_learning_rate(study, "lora"));
  add(1e-2, 0.99, 0.1, RunStatus::failed);
  add(1e-3, 0.80, 0.9);
  EXPECT_EQ(choose_learning_rate(study, "lora"), 1e-3);
  add(3e-3, 0.80, 0.7);
  EXPECT_EQ(choose_learning_rate(study, "lora"), 3e-3);  // lower loss
  add(1e-4, 0.80, 0.7);
  EXPECT_EQ(choose_learning_rate(study, "lora"), 1e-4);  // smaller rate
  add(1e-4, 0.60, 0.7);                                  // a second seed pulls its mean down
  EXPECT_EQ(choose_learning_rate(study, "lora"), 3e-3);
}

TEST(Summary, EdgeOfTheGridAndUnequalSearchAreNoted) {
  Study study = exact_study({{"lora", 800}, {"dora", 810}}, 2, 5);
  for (const double rate : {1e-4, 1e-3}) {
    study::Run run{.method = "lora", .learning_rate = rate, .phase = RunPhase::search};
    run.curve = {{.step = 1, .validation_loss = 1, .validation_score = rate}};
    study.runs.push_back(run);
  }
  const Summary summary = summarize(study);
  EXPECT_THAT(summary.notes, Contains(HasSubstr("lora (0.001) is the largest one tried")));
  EXPECT_THAT(summary.notes, Contains(HasSubstr("from 0 to 2 search runs")));
}

TEST(Summary, ParetoSetDropsWhatIsBeatenInBoth) {
  const Summary summary = summarize(exact_study({{"lora", 900, 2e6}, {"dora", 890, 3e6}, {"lokr", 880, 1e5}, {"full", 900, 9e7}}, 2, 2));
  ASSERT_EQ(summary.costs.front().name, "size");
  EXPECT_EQ(summary.costs.front().pareto, (std::vector<std::string>{"lokr", "lora"}));
}

TEST(Recommendation, TakesTheSmallestThatIsNotShownWorse) {
  const auto result =
      summarize(exact_study({{"lora", 905, 3e6}, {"dora", 908, 3e6}, {"lokr", 902, 2e5}, {"none", 700, 1e4}}, 3, 10)).recommendation;
  EXPECT_EQ(result.method, "lokr");
  EXPECT_THAT(result.sentence, HasSubstr("not shown different from the best, dora (90.8 %"));
  EXPECT_THAT(result.sentence, HasSubstr("200 kB against 3.00 MB"));
}

TEST(Recommendation, ALossOverTheMarginExcludesEvenWhenNotShown) {
  // Two seeds and much seed noise: nothing can be shown, yet 5 points are too many to give away.
  const auto result = summarize(exact_study({{"lora", 900, 3e6}, {"lokr", 850, 2e5}}, 2, 40)).recommendation;
  EXPECT_EQ(result.method, "lora");
}

TEST(Recommendation, ProbeAndFullAreNamedWhenTheyWin) {
  EXPECT_THAT(summarize(exact_study({{"none", 900, 1e4}, {"lora", 903, 3e6}}, 3, 10)).recommendation.sentence,
              HasSubstr("No adaptation is needed, use the linear probe"));
  EXPECT_THAT(summarize(exact_study({{"full", 950, 9e7}, {"lora", 800, 3e6}}, 3, 2)).recommendation.sentence,
              HasSubstr("Use full fine-tuning: its accuracy (95.0 %) is the highest, and every other method is shown worse"));
}

TEST(Recommendation, WarnsWhenNothingBeatsTheMajority) {
  const auto result = summarize(exact_study({{"lora", 505}, {"dora", 503}}, 3, 10)).recommendation;
  EXPECT_THAT(result.cautions, Contains(HasSubstr("most frequent label (50.0 %)")));
}

TEST(Recommendation, SaysWhatWouldSettleIt) {
  const Summary summary = summarize(test::simulated_study());
  EXPECT_THAT(summary.recommendation.cautions, Contains(HasSubstr("may still be up to")));
}

}  // namespace
}  // namespace lowrank::study
