// Heads: what a folder holds, what is asked for, how new ones begin.
#include "models/support.h"

namespace lowrank::models {

TEST(StoredHead, IsReadFromTheConfig) {
  const HeadOptions single = stored_head(golden("bert_single")), multi = stored_head(golden("roberta_multi"));
  EXPECT_EQ(single.kind, HeadKind::single_label);
  EXPECT_EQ(single.labels, (std::vector<std::string>{"red", "green", "blue", "rather green"}));
  EXPECT_EQ(multi.kind, HeadKind::multi_label);
  EXPECT_EQ(stored_head(golden("distilbert_regression")).kind, HeadKind::regression);
}

TEST(StoredHead, WithoutProblemTypeFollowsTheNumberOfLabels) {
  Checkpoint checkpoint("bert_single");
  checkpoint.config.erase("problem_type");
  EXPECT_EQ(stored_head(checkpoint.write()).kind, HeadKind::single_label);
  checkpoint.config["id2label"] = {{"0", "score"}};
  EXPECT_EQ(stored_head(checkpoint.write()).kind, HeadKind::regression);
  checkpoint.config.erase("id2label");
  EXPECT_EQ(stored_head(checkpoint.write()).labels, (std::vector<std::string>{"LABEL_0", "LABEL_1"}));
}

TEST(StoredHead, OfAnotherClassIsNone) {
  Checkpoint checkpoint("bert_single");
  checkpoint.config["architectures"] = {"BertForMaskedLM"};
  EXPECT_EQ(stored_head(checkpoint.write()).kind, HeadKind::none);
}

TEST(StoredHead, GapInTheLabels_IsAnError) {
  Checkpoint checkpoint("bert_single");
  checkpoint.config["id2label"] = {{"0", "a"}, {"2", "b"}};
  EXPECT_LOWRANK_ERROR(stored_head(checkpoint.write()), ErrorKind::file_format, "expected names for 0 to 1, got none for 1");
}

TEST(StoredHead, UnknownProblem_IsAnError) {
  Checkpoint checkpoint("bert_single");
  checkpoint.config["problem_type"] = "ranking";
  EXPECT_LOWRANK_ERROR(stored_head(checkpoint.write()), ErrorKind::unsupported, "or regression, got 'ranking'");
}

TEST(NewHead, IsNormalWithTheConfigsDeviationAndDependsOnTheSeedAlone) {
  const auto make = [](uint64_t seed) {
    return load_text_model(golden("roberta_single"), {HeadKind::single_label, {"no", "yes"}, seed})->named_parameters();
  };
  const auto one = make(1), again = make(1), two = make(2);
  EXPECT_TRUE(one["classifier.dense.weight"].equal(again["classifier.dense.weight"]));
  EXPECT_FALSE(one["classifier.dense.weight"].equal(two["classifier.dense.weight"]));
  EXPECT_NEAR(one["classifier.dense.weight"].std().item<double>(), 0.02,
              0.002);  // 1,024 draws: 5 % is over 2 deviations
  EXPECT_NEAR(one["classifier.dense.weight"].mean().item<double>(), 0.0, 0.002);
  EXPECT_EQ(one["classifier.out_proj.bias"].abs().max().item<double>(), 0.0);
}

TEST(NewHead, LabelsThatCannotBe_AreRefused) {
  const auto load = [](HeadKind kind, std::vector<std::string> labels) {
    load_text_model(golden("bert_single"), {kind, std::move(labels)});
  };
  EXPECT_LOWRANK_ERROR(load(HeadKind::single_label, {"one"}), ErrorKind::invalid_argument, "expected at least 2 labels, got 1");
  EXPECT_LOWRANK_ERROR(load(HeadKind::multi_label, {}), ErrorKind::invalid_argument, "expected at least 1 labels, got 0");
  EXPECT_LOWRANK_ERROR(load(HeadKind::single_label, {"a", "b", "a"}), ErrorKind::invalid_argument, "label 'a' is there twice");
  EXPECT_LOWRANK_ERROR(load(HeadKind::regression, {"a", "b"}), ErrorKind::invalid_argument, "at most one name");
}

TEST(Classify, WithoutAHead_IsAnError) {
  const auto model = load_text_model(golden("distilbert_single"), HeadOptions{});
  EXPECT_LOWRANK_ERROR(model->logits(nn::pack({{5}})), ErrorKind::invalid_argument,
                       "expected a model with a head, got the bare DistilBertModel");
}

TEST(Classify, OnKeptStatesEqualsLogits) {
  const auto model = load_text_model(golden("bert_single"), stored_head(golden("bert_single")));
  const nn::Packed batch = nn::pack({{5, 6, 7}, {8, 9}});
  EXPECT_TRUE(model->classify(model->encode(batch, true)).equal(model->logits(batch)));
}

}  // namespace lowrank::models
