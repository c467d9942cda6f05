#include "lowrank/base/options.h"

#include "support/expect_error.h"

namespace lowrank {
namespace {

struct Settings {
  double learning_rate = 1e-4;
  int64_t rank = 16;
  bool rslora = false;
  std::string bias = "none";
  std::vector<std::string> targets = {};
};

OptionTable table_for(Settings& s) {
  OptionTable table;
  table.add("learning-rate", s.learning_rate, "step size").range(0, 1);
  table.add("rank", s.rank, "rank").range(1, 1024);
  table.add("rslora", s.rslora, "scale by the root of the rank");
  table.add("bias", s.bias, "which biases train").choices({"none", "all", "lora_only"});
  table.add("target-modules", s.targets, "names");
  return table;
}

TEST(Options, FileThenCommandLine) {
  Settings s;
  OptionTable table = table_for(s);
  table.apply(parse_json(R"({"learning_rate": 0.01, "rank": 8.0, "target-modules": ["query"]})", "t"), "c.yaml");
  table.at("rank", "--").set_text("4", "--rank");
  table.at("rslora", "--").set_text("", "--rslora");
  table.at("target-modules", "--").set_text("query,value", "--target-modules");
  EXPECT_DOUBLE_EQ(s.learning_rate, 0.01);
  EXPECT_EQ(s.rank, 4);
  EXPECT_TRUE(s.rslora);
  EXPECT_EQ(s.targets, (std::vector<std::string>{"query", "value"}));
  EXPECT_EQ(table.find("rank")->origin(), "--rank");
  EXPECT_EQ(table.find("learning-rate")->origin(), "c.yaml");
}

TEST(Options, UnknownKeysAndBadValuesAreReportedTogether) {
  Settings s;
  OptionTable table = table_for(s);
  const Json bad = parse_json(R"({"lerning_rate": 1, "rank": 0, "bias": "lora", "rslora": 3})", "t");
  try {
    table.apply(bad, "c.yaml");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("unknown option 'lerning_rate', did you mean 'learning-rate'?"));
    EXPECT_THAT(error.what(), testing::HasSubstr("option 'rank': expected 1 to 1024, got 0"));
    EXPECT_THAT(error.what(), testing::HasSubstr("option 'bias': expected one of none, all, lora_only, got 'lora'"));
    EXPECT_THAT(error.what(), testing::HasSubstr("option 'rslora': expected true or false, got 3"));
  }
}

TEST(Options, TextThatIsNoNumberIsRefused) {
  Settings s;
  OptionTable table = table_for(s);
  EXPECT_LOWRANK_ERROR(table.at("rank", "--").set_text("many", "--rank"), ErrorKind::invalid_argument,
                       "option 'rank': expected a whole number, got \"many\"");
}

TEST(Options, EmptyNumberListReadsNumbersFromText) {
  std::vector<int64_t> layers;
  OptionTable table;
  table.add("layers", layers, "numbers");
  table.at("layers", "--").set_text("4,5", "--layers");
  EXPECT_EQ(layers, (std::vector<int64_t>{4, 5}));
}

TEST(Options, LinesMayHoldCommas) {
  std::vector<std::string> prompts;
  OptionTable table;
  table.add("prompt", prompts, "sentences").lines();
  table.at("prompt", "--").set_text("a, b\nc", "--prompt");
  EXPECT_EQ(prompts, (std::vector<std::string>{"a, b", "c"}));
}

TEST(Options, ResolvedIsSorted) {
  Settings s;
  EXPECT_EQ(table_for(s).resolved().dump(), R"({"bias":"none","learning-rate":0.0001,"rank":16,"rslora":false,"target-modules":[]})");
}

}  // namespace
}  // namespace lowrank
