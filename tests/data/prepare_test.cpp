#include <algorithm>
#include <set>

#include "support/expect_error.h"
#include "support/temp_dir.h"

#include "lowrank/base/file.h"
#include "lowrank/data/batches.h"
#include "lowrank/data/dataset.h"
#include "lowrank/text/tokenizer.h"

namespace lowrank::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// A model folder whose tokenizer knows the words w0 … w9, and a folder for data beside it.
class Prepare : public testing::Test {
 protected:
  Prepare() : tokenizer_(make_tokenizer(folder_)) {}

  static text::Tokenizer make_tokenizer(const test::TempDir& folder) {
    std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
    for (int i = 0; i < 10; ++i) vocabulary += "w" + std::to_string(i) + "\n";
    write_file_atomic(folder / "vocab.txt", vocabulary);
    write_file_atomic(folder / "tokenizer_config.json", R"({"tokenizer_class": "BertTokenizer", "do_lower_case": true})");
    return text::Tokenizer::load(folder.path());
  }

  std::string write(const std::string& name, const std::string& content) {
    write_file_atomic(folder_ / name, content);
    return (folder_ / name).string();
  }

  /// `n` rows with distinct texts of 1 to 6 words and the labels a, b in turn.
  static std::string table(int n) {
    std::string csv = "text,label\n";
    for (int i = 0; i < n; ++i) {
      std::string text = "w" + std::to_string(i % 10) + " x" + std::to_string(i);
      for (int j = 0; j < i % 5; ++j) text += " w1";
      csv += text + (i % 2 == 0 ? ",a\n" : ",b\n");
    }
    return csv;
  }

  test::TempDir folder_;
  text::Tokenizer tokenizer_;
};

TEST_F(Prepare, SplitsTokenizesAndNumbersRows) {
  DataOptions options;
  options.data = write("all.csv", table(100));
  const Split split = prepare(options, tokenizer_);
  EXPECT_EQ(split.train.size(), 80);
  EXPECT_EQ(split.validation.size(), 10);
  EXPECT_EQ(split.test.size(), 10);
  EXPECT_THAT(split.labels.names, ElementsAre("a", "b"));
  EXPECT_EQ(split.train.classes, 2);
  std::set<int64_t> ids;
  for (const Dataset* part : {&split.train, &split.validation, &split.test}) {
    for (const auto& example : part->examples) {
      EXPECT_TRUE(ids.insert(example.id).second);
      EXPECT_THAT(example.labels, ElementsAre(example.id % 2));
      EXPECT_EQ(example.ids.size(), static_cast<size_t>(4 + example.id % 5));
      EXPECT_EQ(example.ids[1], 5 + example.id % 10);
    }
  }
  EXPECT_EQ(*ids.rbegin(), 99);
  EXPECT_TRUE(split.report.was_split);
  EXPECT_EQ(split.report.lengths[0].tokens, split.train.tokens());
}

TEST_F(Prepare, ThreadsAndRepeatsChangeNothing) {
  DataOptions options;
  options.data = write("all.csv", table(2000));
  options.threads = 1;
  const Split one = prepare(options, tokenizer_);
  options.threads = 4;
  int64_t reported = 0;
  const Split four = prepare(options, tokenizer_, [&](const Progress& progress) { reported = std::max(reported, progress.done); });
  EXPECT_EQ(reported, 2000);
  EXPECT_EQ(one.report.hash, four.report.hash);
  ASSERT_EQ(one.train.size(), four.train.size());
  for (int64_t i = 0; i < one.train.size(); ++i) {
    EXPECT_EQ(one.train.examples[static_cast<size_t>(i)].ids, four.train.examples[static_cast<size_t>(i)].ids);
  }
  options.split_seed = 43;
  EXPECT_NE(prepare(options, tokenizer_).report.hash, one.report.hash);
}

TEST_F(Prepare, ContainerFormatDoesNotChangeTheHash) {
  DataOptions options;
  options.validation_fraction = options.test_fraction = 0;
  options.data = write("a.csv", "text,label\n\"w1, w2\",a\nw3,b\n");
  const auto csv = prepare(options, tokenizer_).report.hash;
  options.data = write("a.jsonl", "{\"label\": \"a\", \"text\": \"w1, w2\"}\n{\"label\": \"b\", \"text\": \"w3\"}\n");
  EXPECT_EQ(prepare(options, tokenizer_).report.hash, csv);
}

TEST_F(Prepare, GivenPartsAreKeptAndMissingOnesSplitOff) {
  DataOptions options;
  options.data = write("train.csv", table(50));
  options.test_file = write("test.csv", "text,label\nw9 w9,a\nw8 w8,b\n");
  const Split split = prepare(options, tokenizer_);
  EXPECT_EQ(split.train.size(), 45);
  EXPECT_EQ(split.validation.size(), 5);
  EXPECT_EQ(split.test.size(), 2);
  EXPECT_EQ(split.test.examples[0].id, 50);
}

TEST_F(Prepare, LeakageIsRefusedDroppedOrAllowed) {
  DataOptions options;
  options.validation_fraction = 0;
  options.data = write("train.csv", "text,label\nw1,a\nw2,b\nw3,a\nw4,b\n");
  options.test_file = write("test.csv", "text,label\n W1 ,a\nw5,b\n");
  EXPECT_LOWRANK_ERROR(prepare(options, tokenizer_), ErrorKind::invalid_argument, "such as \"w1\" at train.csv:2, test.csv:2");
  EXPECT_LOWRANK_ERROR(prepare(options, tokenizer_), ErrorKind::invalid_argument, "--leakage drop");
  options.leakage = "drop";
  const Split dropped = prepare(options, tokenizer_);
  EXPECT_EQ(dropped.train.size(), 3);
  EXPECT_EQ(dropped.report.dropped_rows, 1);
  options.leakage = "allow";
  EXPECT_EQ(prepare(options, tokenizer_).train.size(), 4);
}

TEST_F(Prepare, RepeatedTextsNeverLeakThroughOurSplit) {
  std::string csv = "text,label\n";
  for (int i = 0; i < 300; ++i) csv += "w" + std::to_string(i % 10) + " y" + std::to_string(i % 60) + (i % 2 == 0 ? ",a\n" : ",b\n");
  DataOptions options;
  options.data = write("all.csv", csv);
  const Split split = prepare(options, tokenizer_);
  EXPECT_EQ(split.report.leaked_texts, 0);
  EXPECT_EQ(split.report.duplicate_rows, 240);
}

TEST_F(Prepare, CutTextsAreCountedAndNamed) {
  DataOptions options;
  options.validation_fraction = options.test_fraction = 0;
  options.max_length = 6;
  options.data = write("a.csv", "text,label\nw1 w2,a\nw1 w2 w3 w4 w5 w6 w7,b\n");
  const Split split = prepare(options, tokenizer_);
  EXPECT_EQ(split.train.examples[1].ids.size(), 6U);
  EXPECT_EQ(split.report.truncated_rows, 1);
  ASSERT_EQ(split.report.truncated.size(), 1U);
  EXPECT_EQ(split.report.truncated[0].place, "a.csv:3");
  EXPECT_EQ(split.report.truncated[0].tokens, 9);
  EXPECT_EQ(split.report.truncated[0].cut, 3);
}

TEST_F(Prepare, PairsAreJoinedButKeptApartForEmbedding) {
  DataOptions options;
  options.validation_fraction = options.test_fraction = 0;
  options.data = write("p.tsv", "sentence1\tsentence2\tscore\nw1\tw2 w3\t0.5\nw4\tw5\t1.0\n");
  const Split joined = prepare(options, tokenizer_);
  EXPECT_EQ(joined.report.task, Task::regression);
  EXPECT_THAT(joined.train.examples[0].ids, ElementsAre(2, 6, 3, 7, 8, 3));
  EXPECT_THAT(joined.train.examples[0].type_ids, ElementsAre(0, 0, 0, 1, 1, 1));
  EXPECT_FLOAT_EQ(joined.train.examples[0].value, 0.5F);
  EXPECT_TRUE(joined.labels.names.empty());
  options.task = "embedding";
  const Split apart = prepare(options, tokenizer_);
  EXPECT_THAT(apart.train.examples[0].ids, ElementsAre(2, 6, 3));
  EXPECT_THAT(apart.train.examples[0].pair_ids, ElementsAre(2, 7, 8, 3));
}

TEST_F(Prepare, MultiLabelRowsMayHaveNoneOrSeveral) {
  DataOptions options;
  options.validation_fraction = options.test_fraction = 0;
  options.data = write("m.jsonl", "{\"text\": \"w1\", \"labels\": [\"y\", \"x\"]}\n{\"text\": \"w2\", \"labels\": []}\n");
  const Split split = prepare(options, tokenizer_);
  EXPECT_EQ(split.report.task, Task::multi_label);
  EXPECT_THAT(split.train.examples[0].labels, ElementsAre(0, 1));
  EXPECT_TRUE(split.train.examples[1].labels.empty());
  options.task = "single_label";
  EXPECT_LOWRANK_ERROR(prepare(options, tokenizer_), ErrorKind::file_format, "m.jsonl:1: expected one label, got 2");
}

TEST_F(Prepare, ALabelSeenOnlyInTheTestFileIsNamed) {
  DataOptions options;
  options.validation_fraction = 0;
  options.data = write("train.csv", "text,label\nw1,a\nw2,b\n");
  options.test_file = write("test.csv", "text,label\nw3,c\n");
  EXPECT_LOWRANK_ERROR(prepare(options, tokenizer_), ErrorKind::file_format, "test.csv:2: label 'c' is not among the training labels");
}

TEST_F(Prepare, OneClassIsRefused) {
  DataOptions options;
  options.data = write("a.csv", "text,label\nw1,a\nw2,a\nw3,a\nw4,a\nw5,a\nw6,a\n");
  EXPECT_LOWRANK_ERROR(prepare(options, tokenizer_), ErrorKind::invalid_argument, "at least two different labels");
}

TEST_F(Prepare, EvaluationKeepsTheModelsLabels) {
  const auto file = write("new.csv", "text,label\nw1,b\nw2 w3,b\n");
  const auto evaluation = prepare_evaluation(file, {}, Task::single_label, LabelSet{{"a", "b"}}, tokenizer_);
  EXPECT_EQ(evaluation.dataset.size(), 2);
  EXPECT_EQ(evaluation.dataset.classes, 2);
  EXPECT_THAT(evaluation.dataset.examples[0].labels, ElementsAre(1));
  EXPECT_EQ(evaluation.report.lengths[2].rows, 2);
  EXPECT_LOWRANK_ERROR(prepare_evaluation(file, {}, Task::single_label, LabelSet{{"a", "c"}}, tokenizer_), ErrorKind::file_format,
                       "new.csv:2: label 'b'");
}

TEST_F(Prepare, OddLabelsAreWarnedOf) {
  std::string numbers = "text,label\n", ids = "text,label\n";
  for (int i = 0; i < 40; ++i) {
    numbers += "w1 x" + std::to_string(i) + "," + std::to_string(i % 4) + "\n";
    ids += "w1 x" + std::to_string(i) + ",id" + std::to_string(i) + "\n";
  }
  DataOptions options;
  options.validation_fraction = options.test_fraction = 0;
  options.data = write("numbers.csv", numbers);
  EXPECT_THAT(prepare(options, tokenizer_).report.warnings, ElementsAre(HasSubstr("--task regression")));
  options.data = write("ids.csv", ids);
  const auto warnings = prepare(options, tokenizer_).report.warnings;
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("40 labels with fewer than 5 train rows: id0, id1"),
                                    HasSubstr("40 different labels in 40 training rows: does column 'label'")));
}

TEST_F(Prepare, ReportPrintsAsATable) {
  DataOptions options;
  options.data = write("all.csv", table(100));
  const std::string text = prepare(options, tokenizer_).report.to_text();
  EXPECT_THAT(text, HasSubstr("single_label, 2 labels (detected)"));
  EXPECT_THAT(text, HasSubstr("each with 40 training, 5 validation, 5 test rows"));
  EXPECT_THAT(text, HasSubstr("stratified, seed 42"));
}

}  // namespace
}  // namespace lowrank::data
