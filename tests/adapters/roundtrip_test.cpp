// Law: what is saved and loaded is the same adapter, for every registered method and for every way to name targets.
// With LOWRANK_PEFT_OUT=DIR the folders are kept, with their W', for `tools/golden/peft_folders.py --check DIR`.
#include <ATen/ops/equal.h>
#include <cstdlib>

#include "adapters/tiny_bert.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"

#include "lowrank/adapters/dialects/peft.h"
#include "lowrank/base/file.h"
#include "lowrank/tensor/random.h"

namespace lowrank::adapters {
namespace {

using test::tiny_bert;
namespace fs = std::filesystem;

struct Case {
  std::string name;
  std::string method;
  std::string options;  // JSON, over the method's defaults
};
void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }

// What every method must carry over, and what single methods add.
const std::vector<std::pair<std::string, std::string>> kCommon = {
    {"default", R"({"rank": 4})"},
    {"named",
     R"json({"rank": 3, "alpha": 2.5, "target-modules": ["query", "output.dense"],
        "exclude-modules": ["layer.1.output.dense"], "rank-pattern": ["layer.0.output.dense=5", "query=2"], "alpha-pattern": ["query=7.25"]})json"},
    {"glob", R"json({"rank": 2, "target-modules": ["layer.*.self.*", "re:.*pooler\\.dense"], "layers": [0]})json"},
    {"by_regex", R"json({"rank": 2, "target-modules": ["re:.*\\.(key|value)"], "exclude-modules": ["re:.*layer\\.1.*key"]})json"},
    {"foreign_regex", R"json({"rank": 2, "target-modules": ["re:(?|.*key|.*value)"]})json"},
};
const std::vector<Case> kSingle = {
    {"lora_rslora_bias", "lora", R"({"rslora": true, "bias": "all", "rank": 4, "dropout": 0.1})"},
    {"dora_embedding", "dora",
     R"({"rank": 4, "bias": "lora_only", "norm-gradient": "full", "target-modules": ["word_embeddings", "key"]})"},
    {"lokr_full_matrix", "lokr", R"({"full-matrix": true, "decompose-both": true, "rank": 2, "factor": 4, "init": "lycoris"})"},
    {"lokr_lycoris_scale", "lokr", R"({"scale-rule": "lycoris", "rank": 5, "alpha": 3, "factor": -1})"},
    {"lokr_both", "lokr",
     R"({"decompose-both": true, "rank": 1, "alpha": 3, "factor": 8, "rank-dropout": 0.2, "module-dropout": 0.1,
        "rank-dropout-scale": false})"},
};

std::vector<Case> cases() {
  std::vector<Case> all = kSingle;
  for (const Method* method : methods()) {
    const std::string name(method->name());
    for (const auto& [what, options] : kCommon) all.push_back({name + "_" + what, name, options});
  }
  return all;
}

AdapterConfig config_of(const Case& one) {
  Json json = make_config(one.method).to_json();
  json.update(parse_json(one.options, one.name));
  return AdapterConfig::from_json(json);
}

void fill_randomly(const AdapterSet& set) {
  const at::NoGradGuard no_grad;
  for (auto& [name, value] : set.parameters()) {
    at::Tensor target = value, noise = at::empty_like(target);
    tensor::fill_normal_(noise, 0, 0.2, RandomStream(3, name));
    target.add_(noise);
  }
}

class RoundTrip : public testing::TestWithParam<Case> {
 protected:
  RoundTrip() {
    fill_randomly(set_);
    write_peft(folder(), set_, heads_, context_);
  }
  fs::path folder() const {
    const char* keep = std::getenv("LOWRANK_PEFT_OUT");
    const fs::path path = (keep == nullptr ? temporary_.path() : fs::path(keep)) / GetParam().name;
    fs::create_directories(path);
    return path;
  }

  lowrank::test::TempDir temporary_;
  std::shared_ptr<torch::nn::Module> model_ = tiny_bert();
  AdapterSet set_ = attach(*model_, config_of(GetParam()), {"classifier"});
  tensor::TensorMap heads_ = {{"classifier.weight", model_->named_parameters()["classifier.weight"]},
                              {"classifier.bias", model_->named_parameters()["classifier.bias"]}};
  PeftContext context_{"base", "SEQ_CLS", {"classifier"}, Json::object(), Json::object()};
};

TEST_P(RoundTrip, EveryTensorComesBack) {
  const PeftFolder read = read_peft(folder());
  EXPECT_EQ(read.config.to_json(), set_.config.to_json());
  const auto other = tiny_bert();
  const AdapterSet again = load_peft(*other, read, {"classifier"});
  const auto before = set_.parameters(), after = again.parameters();
  ASSERT_EQ(before.size(), after.size());
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(before[i].first, after[i].first);
    EXPECT_TRUE(at::equal(before[i].second, after[i].second)) << before[i].first;
  }
  for (size_t i = 0; i < set_.modules.size(); ++i) {
    const at::Tensor w = set_.modules[i].host->matrix();
    EXPECT_TRUE(at::equal(set_.modules[i].adapter->apply_to_weight(w), again.modules[i].adapter->apply_to_weight(w)))
        << set_.modules[i].module;
  }
}

TEST_P(RoundTrip, AdapterConfigAloneIsEnough) {
  fs::copy(folder(), temporary_ / "alone");
  fs::remove(temporary_ / "alone" / "lowrank.json");
  const auto other = tiny_bert();
  const AdapterSet again = load_peft(*other, read_peft(temporary_ / "alone"), {"classifier"});
  ASSERT_EQ(again.modules.size(), set_.modules.size());
  for (size_t i = 0; i < set_.modules.size(); ++i) {
    const at::Tensor w = set_.modules[i].host->matrix();
    const at::Tensor one = set_.modules[i].adapter->apply_to_weight(w), two = again.modules[i].adapter->apply_to_weight(w);
    EXPECT_LT((one - two).abs().max().item<double>(), 1e-6 * one.abs().max().item<double>()) << set_.modules[i].module;
  }
}

TEST_P(RoundTrip, IndependentReadBackAgrees) {
  EXPECT_LT(verify_peft(folder(), set_, heads_), 1e-6);
  set_.modules.front().adapter->set_multiplier(0.5);
  EXPECT_LT(verify_peft(folder(), set_, heads_), 1e-6);
  tensor::TensorMap expected;
  set_.modules.front().adapter->set_multiplier(1.0);
  for (const auto& entry : set_.modules) {
    const at::Tensor w = entry.adapter->apply_to_weight(entry.host->matrix()).detach();
    expected[entry.module + ".weight"] = entry.host->shape().one_hot_input ? w.t() : w;
  }
  tensor::save_tensors(folder() / "expected.safetensors", expected, {});
}

TEST_P(RoundTrip, IndependentReadBackFindsOneChangedNumber) {
  const at::NoGradGuard no_grad;
  at::Tensor first = set_.parameters().front().second;
  first.view({-1})[0] += 0.01;
  EXPECT_LOWRANK_ERROR(verify_peft(folder(), set_, heads_), ErrorKind::internal, "differs from memory by");
  first.view({-1})[0] -= 0.01;
  heads_["classifier.bias"] = heads_["classifier.bias"] + 1;
  EXPECT_LOWRANK_ERROR(verify_peft(folder(), set_, heads_), ErrorKind::internal, "'classifier.bias' in the file is not what is in memory");
}

TEST_P(RoundTrip, EqualContentGivesEqualBytes) {
  write_peft(temporary_.path(), set_, heads_, context_);
  for (const char* file : {"adapter_config.json", "adapter_model.safetensors", "lowrank.json"}) {
    EXPECT_EQ(read_file(temporary_ / file), read_file(folder() / file)) << file;
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, RoundTrip, testing::ValuesIn(cases()), [](const auto& instance) { return instance.param.name; });

// A layer that training left alone must not be adapted on loading, though the targets would match it there.
TEST(PeftWrite, HeadsThatAreNotSavedStayOutOfTheTargets) {
  for (const char* options : {R"({"rank": 2})", R"({"rank": 2, "target-modules": ["dense"]})"}) {
    const auto model = tiny_bert();
    const AdapterSet set = attach(*model, config_of({"heads", "lora", options}), {"pooler", "classifier"});
    const lowrank::test::TempDir folder;
    write_peft(folder.path(), set, {}, {});
    const AdapterSet again = load_peft(*tiny_bert(), read_peft(folder.path()), {});
    ASSERT_EQ(again.modules.size(), set.modules.size());
    for (size_t i = 0; i < set.modules.size(); ++i) EXPECT_EQ(again.modules[i].module, set.modules[i].module);
    EXPECT_EQ(again.config.to_json(), set.config.to_json());
  }
}

TEST(PeftWrite, RefusesWhatPeftCannotSay) {
  const auto refuse = [](const char* method, const char* options, const char* part) {
    const auto model = tiny_bert();
    const AdapterSet set = attach(*model, config_of({"refused", method, options}), {"classifier"});
    EXPECT_LOWRANK_ERROR(check_peft(set), ErrorKind::unsupported, part);
  };
  refuse("lokr", R"({"rank": 2, "bias": "all"})", "PEFT's LOKR has no trained biases: expected bias none, got all");
  refuse("lokr", R"({"rank": 2, "factors": [4, 8], "target_modules": ["query"]})", "PEFT has one decompose_factor for both dimensions");
}

}  // namespace
}  // namespace lowrank::adapters
