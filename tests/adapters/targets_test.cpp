#include "lowrank/adapters/targets.h"

#include "adapters/tiny_bert.h"
#include "support/expect_error.h"

#include "lowrank/adapters/attach.h"

namespace lowrank::adapters {
namespace {

using test::tiny_bert;
using Strings = std::vector<std::string>;

const Strings kHead = {"classifier"};

AdapterConfig config_with(Strings targets, Strings excluded = {}) {
  AdapterConfig config = make_config("lora");
  config.rank = 2;
  config.target_modules = std::move(targets);
  config.exclude_modules = std::move(excluded);
  return config;
}

Strings chosen(const AdapterConfig& config, const Strings& heads = kHead) {
  const auto model = tiny_bert();
  Strings names;
  for (const auto& [name, host] : choose_hosts(*model, config, heads)) names.push_back(name);
  return names;
}

TEST(Targets, NameIsTheWholeNameOrADottedSuffix) {
  EXPECT_EQ(chosen(config_with({"query"})),
            (Strings{"bert.encoder.layer.0.attention.self.query", "bert.encoder.layer.1.attention.self.query"}));
  EXPECT_EQ(chosen(config_with({"bert.pooler.dense", "self.key"})).size(), 3U);
  EXPECT_FALSE(Target("ery", "t").matches("a.query", "linear"));
}

TEST(Targets, GlobMatchesTheWholeNameOrADottedSuffix) {
  EXPECT_EQ(chosen(config_with({"layer.1.attention.*"})).size(), 4U);
  EXPECT_EQ(chosen(config_with({"*.layer.?.output.dense"})).size(), 2U);
  EXPECT_FALSE(Target("ayer.*", "t").matches("encoder.layer.0", "linear"));
  EXPECT_TRUE(matches_glob("a*b*c", "aXbYbZc"));
  EXPECT_FALSE(matches_glob("a*b?", "ab"));
}

TEST(Targets, RegexMatchesTheWholeName) {
  EXPECT_EQ(chosen(config_with({R"(re:.*\.layer\.0\..*(query|key))"})).size(), 2U);
  EXPECT_FALSE(Target("re:query", "t").matches("a.query", "linear"));
}

TEST(Targets, AllLinearLeavesOutHeadsAndEmbeddings) {
  EXPECT_EQ(chosen(config_with({"all-linear"})).size(), 13U);
  EXPECT_EQ(chosen(config_with({"all-linear"}), {}).size(), 14U);
  EXPECT_EQ(chosen(config_with({"all-linear"}, {"*.output.dense", "key"})).size(), 7U);
}

TEST(Targets, HeadsAreNeverAdapted) {
  EXPECT_EQ(chosen(config_with({"dense"}), {"pooler"}).size(), 6U);
  EXPECT_LOWRANK_ERROR(chosen(config_with({"classifier"})), ErrorKind::invalid_argument,
                       "'classifier' matches only classifier, which trains in full as part of the head");
}

TEST(Targets, LayersChooseByNumber) {
  AdapterConfig config = config_with({"dense", "value"});
  config.layers = {1};
  EXPECT_EQ(chosen(config).size(), 4U);
  config.layers_pattern = {"layer"};
  EXPECT_EQ(chosen(config).size(), 4U);
  config.target_modules.push_back("bert.pooler.dense");  // PEFT exempts full names
  EXPECT_EQ(chosen(config).size(), 5U);
  config.layers_pattern = {"blocks"};
  EXPECT_EQ(chosen(config), (Strings{"bert.pooler.dense"}));
}

TEST(Targets, LayerNumberIsTheFirstAfterTwoComponents) {
  EXPECT_EQ(layer_number("model.layers.3.experts.7.up", {}), 3);
  EXPECT_EQ(layer_number("layers.3.up", {}), std::nullopt);
  EXPECT_EQ(layer_number("layers.3.up", {"layers"}), 3);
  EXPECT_EQ(layer_number("model.layers.3.experts.7.up", {"experts"}), 7);
  EXPECT_EQ(layer_number("model.layers.3", {"layers"}), std::nullopt);
}

TEST(Targets, UnmatchedNameListsNearMisses) {
  EXPECT_LOWRANK_ERROR(chosen(config_with({"qeury", "value"})), ErrorKind::invalid_argument,
                       "'qeury' matches no layer of this model, did you mean 'query'?");
  EXPECT_LOWRANK_ERROR(chosen(config_with({"q_proj"})), ErrorKind::invalid_argument,
                       "adaptable layers of this model end in: dense, key, position_embeddings, query");
  EXPECT_LOWRANK_ERROR(chosen(config_with({"atention.self.query"})), ErrorKind::invalid_argument, "did you mean 'attention.self.query'");
  EXPECT_LOWRANK_ERROR(chosen(config_with({"query"}, {"valu"})), ErrorKind::invalid_argument, "[exclude-modules] 'valu' matches no layer");
}

TEST(Targets, ModuleThatIsNoLayerIsNamed) {
  EXPECT_LOWRANK_ERROR(chosen(config_with({"LayerNorm"})), ErrorKind::invalid_argument,
                       "'LayerNorm' matches bert.embeddings.LayerNorm, bert.encoder.layer.0.attention.output.LayerNorm");
  EXPECT_LOWRANK_ERROR(chosen(config_with({"attention"})), ErrorKind::invalid_argument, "but no layer that an adapter can go on");
}

TEST(Targets, NothingLeftIsAnError) {
  EXPECT_LOWRANK_ERROR(chosen(config_with({"query"}, {"self.query"})), ErrorKind::invalid_argument, "leave nothing of query");
  EXPECT_LOWRANK_ERROR(chosen(config_with({})), ErrorKind::invalid_argument, "expected at least one entry");
  EXPECT_LOWRANK_ERROR(chosen(config_with({""})), ErrorKind::invalid_argument, "expected a module name");
}

TEST(Targets, MethodThatCannotAdaptALayerSaysWhich) {
  AdapterConfig config = make_config("lokr");
  config.target_modules = {"query", "word_embeddings"};
  EXPECT_LOWRANK_ERROR(chosen(config), ErrorKind::unsupported,
                       "LoKr cannot adapt 'bert.embeddings.word_embeddings', which is of kind embedding");
}

TEST(Targets, BadAndCatastrophicExpressionsAreErrors) {
  EXPECT_LOWRANK_ERROR(Target("re:(query", "target-modules"), ErrorKind::invalid_argument, "does not compile at byte 6");
  const Target slow("re:(a+)+(a+)+[xy]", "target-modules");
  EXPECT_LOWRANK_ERROR(slow.matches(std::string(60, 'a'), "linear"), ErrorKind::invalid_argument, "gave up on");
}

TEST(Targets, PortableExpressionsMeanTheSameInPython) {
  EXPECT_TRUE(is_portable_regex(R"(.*\.layer\.[0-3]\.(?!x)(?:q|k)(?=v)(?<=v)(?P<n>v)?)"));
  for (const char* foreign : {R"(\p{L})", R"(a\Kb)", R"((*UTF)a)", R"((?<n>a))", R"((?R))", R"([[:alpha:]])", R"((?|a|b))", R"(\Qa\E)"}) {
    EXPECT_FALSE(is_portable_regex(foreign)) << foreign;
  }
}

TEST(Attach, RankOverTheLayersSizeIsAnError) {
  const auto model = tiny_bert();
  AdapterConfig config = config_with({"query"});
  config.rank = 33;
  EXPECT_LOWRANK_ERROR(attach(*model, config, kHead), ErrorKind::invalid_argument,
                       "expected at most 32 for layer 'bert.encoder.layer.0.attention.self.query' of 32 x 32, got 33");
  config.rank = 32;
  EXPECT_EQ(attach(*model, config, kHead).modules.size(), 2U);
}

TEST(Attach, PatternsSetRankAndAlphaOfTheFirstMatch) {
  const auto model = tiny_bert();
  AdapterConfig config = config_with({"query", "key"});
  config.rank_pattern.entries = {{"layer.0.attention.self.query", 3}, {"query", 5}};
  config.alpha_pattern.entries = {{".*key", 7}};
  const AdapterSet set = attach(*model, config, kHead);
  EXPECT_EQ(set.modules[0].options.module, "bert.encoder.layer.0.attention.self.key");
  EXPECT_EQ(set.modules[0].options.rank, 2);
  EXPECT_EQ(set.modules[0].options.alpha, 7);
  EXPECT_EQ(set.modules[1].options.rank, 3);
  EXPECT_EQ(set.modules[3].options.rank, 5);
  config.rank_pattern.entries = {{"valeu", 3}, {"kye", 3}};
  EXPECT_LOWRANK_ERROR(attach(*tiny_bert(), config, kHead), ErrorKind::invalid_argument,
                       "'kye' matches no adapted module, did you mean 'key'?");
}

TEST(Attach, BiasesTrainAsAskedAndDetachUndoesIt) {
  const auto model = tiny_bert();
  AdapterConfig config = config_with({"query"});
  const auto trained = [&](const std::string& bias) {
    config.bias = bias;
    const AdapterSet set = attach(*model, config, kHead);
    const size_t count = set.biases.size();
    for (const auto& [name, value] : set.biases) EXPECT_TRUE(value.requires_grad()) << name;
    EXPECT_EQ(set.parameters().size(), 4 + count);
    detach(set);
    for (const auto& [name, value] : set.biases) EXPECT_FALSE(value.requires_grad()) << name;
    return count;
  };
  EXPECT_EQ(trained("none"), 0U);
  EXPECT_EQ(trained("lora_only"), 2U);
  EXPECT_EQ(trained("all"), 18U);  // 12 linear and 5 norm layers and the pooler; not the head
  for (const auto& [name, host] : nn::hosts_of(*model)) EXPECT_TRUE(host->adapters().empty()) << name;
}

TEST(Attach, FailureLeavesTheModelAsItWas) {
  const auto model = tiny_bert();
  AdapterConfig config = config_with({"layer.1.attention.self.query"});
  attach(*model, config, kHead);
  config.target_modules = {"query"};
  EXPECT_LOWRANK_ERROR(attach(*model, config, kHead), ErrorKind::invalid_argument, "an adapter named 'default' is attached already");
  size_t attached = 0;
  for (const auto& [name, host] : nn::hosts_of(*model)) attached += host->adapters().size();
  EXPECT_EQ(attached, 1U);
}

TEST(AdapterConfig, JsonRoundTripOfEveryMethod) {
  for (const Method* method : methods()) {
    AdapterConfig config = make_config(method->name());
    config.rank = 3;
    config.layers = {1, 2};
    config.rank_pattern.entries = {{"a=b", 4}, {"a", 5}};
    config.alpha_pattern.entries = {{"x", 0.1}};
    config.seed = 7;
    const AdapterConfig again = AdapterConfig::from_json(config.to_json());
    EXPECT_EQ(again.to_json(), config.to_json());
    EXPECT_EQ(again.rank_pattern, config.rank_pattern);
    EXPECT_EQ(again.alpha_pattern.entries[0].second, 0.1);
    EXPECT_EQ(again.seed, 7U);
  }
}

TEST(AdapterConfig, BadValuesAreNamed) {
  AdapterConfig config = make_config("lora");
  OptionTable table;
  config.declare(table);
  table.at("rank-pattern", "--").set_text("query=8,layer.1.key=4", "--rank-pattern");
  EXPECT_EQ(config.rank_pattern.entries[1], (std::pair<std::string, int64_t>("layer.1.key", 4)));
  for (const char* bad : {"query", "=8", "query=0", "query=-1", "query=8x", "query="}) {
    EXPECT_LOWRANK_ERROR(table.at("rank-pattern", "--").set_text(bad, "--rank-pattern"), ErrorKind::invalid_argument,
                         "expected 'module=number'");
  }
  EXPECT_LOWRANK_ERROR(AdapterConfig::from_json(parse_json(R"({"method":"lora","rnak":3})", "t")), ErrorKind::invalid_argument,
                       "unknown option 'rnak', did you mean 'rank'?");
  EXPECT_LOWRANK_ERROR(AdapterConfig::from_json(parse_json(R"({"method":"lroa"})", "t")), ErrorKind::invalid_argument,
                       "did you mean 'lora'");
}

}  // namespace
}  // namespace lowrank::adapters
