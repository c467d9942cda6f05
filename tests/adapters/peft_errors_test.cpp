// Every refusal of a PEFT folder, by message. Each test spoils one thing in a copy of a folder that loads.
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <fstream>
#include <limits>

#include "adapters/tiny_bert.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"

#include "lowrank/adapters/dialects/peft.h"
#include "lowrank/base/file.h"

namespace lowrank::adapters {
namespace {

using test::kGoldens;
using test::tiny_bert;
namespace fs = std::filesystem;

const std::string kQuery = "base_model.model.bert.encoder.layer.0.attention.self.query";

class PeftErrors : public testing::Test {
 protected:
  PeftErrors() { copy("lora_plain"); }

  void copy(const std::string& golden) {
    for (const char* file : {"adapter_config.json", "adapter_model.safetensors"}) {
      fs::copy_file(kGoldens / golden / file, folder_ / file, fs::copy_options::overwrite_existing);
    }
  }
  void set(const std::string& key, const Json& value) {
    Json config = read_json(folder_ / "adapter_config.json");
    config[key] = value;
    write_file_atomic(folder_ / "adapter_config.json", format_json(config));
  }
  template <class Change>
  void change_tensors(Change&& change) {
    tensor::TensorMap tensors = tensor::load_tensors(folder_ / "adapter_model.safetensors");
    change(tensors);
    tensor::save_tensors(folder_ / "adapter_model.safetensors", tensors, {{"format", "pt"}});
  }
  void load(const std::vector<std::string>& heads = {}) { load_peft(*model_, read_peft(folder_.path()), heads); }
  void expect_untouched() {
    for (const auto& [name, host] : nn::hosts_of(*model_)) EXPECT_TRUE(host->adapters().empty()) << name;
  }

  lowrank::test::TempDir folder_;
  std::shared_ptr<torch::nn::Module> model_ = tiny_bert();
};

TEST_F(PeftErrors, TheUnspoiltFolderLoads) { EXPECT_NO_THROW(load()); }

TEST_F(PeftErrors, UnknownKey) {
  set("lora_alfa", 3);
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "unknown key 'lora_alfa' with value 3, did you mean 'lora_alpha'?");
}

TEST_F(PeftErrors, UnsupportedValuesAreAllNamed) {
  set("fan_in_fan_out", true);
  set("layer_replication", {{0, 2}, {1, 2}});
  set("lora_bias", true);
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::unsupported, "fan_in_fan_out true: base weights stored as [in, out] is not supported");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::unsupported,
                       "layer_replication [[0,2],[1,2]]: layers of the base used several times is not supported");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::unsupported, "lora_bias true: a bias on lora_B is not supported");
}

TEST_F(PeftErrors, HarmlessValuesAreFine) {
  set("loftq_config", nullptr);
  set("eva_config", Json::object());
  set("qalora_group_size", 32);
  set("megatron_core", "other");
  set("init_lora_weights", "gaussian");
  set("runtime_config", {{"ephemeral_gpu_offload", false}});
  EXPECT_NO_THROW(load());
  EXPECT_EQ(read_peft(folder_.path()).context.kept["init_lora_weights"], "gaussian");
}

TEST_F(PeftErrors, InitialisationThatChangedTheBase) {
  for (const char* init : {"pissa", "pissa_niter_16", "olora", "corda", "loftq", "lora_ga"}) {
    set("init_lora_weights", init);
    EXPECT_LOWRANK_ERROR(load(), ErrorKind::unsupported, "belongs to base weights that this initialisation changed");
  }
  set("init_lora_weights", "eva");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::unsupported, "expected true, false, \"gaussian\" or \"orthogonal\"");
}

TEST_F(PeftErrors, OtherPeftType) {
  set("peft_type", "LOHA");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::unsupported, "expected peft_type LOKR or LORA, got \"LOHA\"");
  write_file_atomic(folder_ / "adapter_config.json", "{}");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "expected an object with peft_type, got none");
}

TEST_F(PeftErrors, ValuesOfTheWrongKind) {
  set("r", 4.5);
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "r: option 'rank': expected a whole number, got 4.5");
  set("r", 0);
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "option 'rank': expected 1 to 65536, got 0");
  set("r", 4);
  set("bias", "some");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "bias: option 'bias': expected one of none, all, lora_only");
  set("bias", "none");
  set("task_type", "SEQ");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "task_type: expected one of SEQ_CLS");
  set("task_type", nullptr);
  set("rank_pattern", {{"query", 0}});
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "rank_pattern: expected a number over 0 for 'query', got 0");
  set("rank_pattern", {{"query", 1.5}});
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "rank_pattern: expected a number over 0 for 'query', got 1.5");
  set("rank_pattern", {3});
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "rank_pattern: expected an object, got [3]");
}

TEST_F(PeftErrors, TargetsThatAreNoTargets) {
  set("target_modules", nullptr);
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::unsupported, "target_modules null: PEFT then chooses by model type; name the modules");
  set("target_modules", {"que*"});
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "in a list PEFT takes 'que*' for a plain name, which no module has");
  set("target_modules", 3);
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "target_modules: expected a list of names or a regular expression, got 3");
  set("target_modules", "(");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::invalid_argument, "does not compile");
  set("target_modules", {"query", "value"});
  set("layers_to_transform", {"one"});
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "layers_to_transform: unexpected value \"one\"");
}

TEST_F(PeftErrors, CatastrophicExpressionInAFile) {
  set("target_modules", "(.*.*)*(.*.*)*(.*.*)*[XY]");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::invalid_argument, "gave up on");
  expect_untouched();
}

TEST_F(PeftErrors, NoConfiguration) {
  fs::remove(folder_ / "adapter_config.json");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::io, "expected a folder with adapter_config.json, found none");
}

TEST_F(PeftErrors, BrokenConfiguration) {
  write_file_atomic(folder_ / "adapter_config.json", R"({"peft_type": "LORA", )");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "not valid JSON at line 1");
}

TEST_F(PeftErrors, PickleOnly) {
  fs::rename(folder_ / "adapter_model.safetensors", folder_ / "adapter_model.bin");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::unsupported, "got adapter_model.bin, a pickle, which runs code when read");
  fs::remove(folder_ / "adapter_model.bin");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::io, "adapter_model.safetensors");
}

TEST_F(PeftErrors, MissingTensor) {
  change_tensors([](auto& tensors) { tensors.erase(kQuery + ".lora_B.weight"); });
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "tensor 'bert.encoder.layer.0.attention.self.query.lora_B' [32, 4] is missing");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "the adapter was made for base");
  expect_untouched();
}

TEST_F(PeftErrors, UnexpectedTensor) {
  change_tensors([](auto& tensors) { tensors[kQuery + ".lora_magnitude_vector"] = at::zeros({32}); });
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "query.lora_magnitude_vector' is unexpected");
  expect_untouched();
}

TEST_F(PeftErrors, WrongShape) {
  change_tensors([](auto& tensors) { tensors[kQuery + ".lora_A.weight"] = at::zeros({4, 31}); });
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "query.lora_A': expected shape [4, 32], got [4, 31]");
  set("r", 8);
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "query.lora_B': expected shape [32, 8], got [32, 4]");
  expect_untouched();
}

TEST_F(PeftErrors, UnusableTensors) {
  change_tensors([](auto& tensors) {
    tensors[kQuery + ".lora_A.weight"] = at::full({4, 32}, std::numeric_limits<float>::quiet_NaN());
    tensors[kQuery + ".lora_B.weight"] = at::zeros({32, 4}, at::kInt);
    tensors["model.stray"] = at::zeros({1});
  });
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "query.lora_A.weight' holds NaN or infinity");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "query.lora_B.weight': expected floating point, got Int");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "tensor 'model.stray': expected a name that starts with base_model.model.");
}

TEST_F(PeftErrors, TwoSpellingsOfOneTensor) {
  change_tensors([](auto& tensors) { tensors[kQuery + ".lora_embedding_A"] = at::zeros({4, 32}); });
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "query.lora_A' appears in two spellings");
}

TEST_F(PeftErrors, HeadThatNobodySupplies) {
  EXPECT_LOWRANK_ERROR(load({"classifier"}), ErrorKind::file_format, "tensor 'classifier.weight' [3, 32] is missing");
}

TEST_F(PeftErrors, AdapterOfAnotherModel) {
  set("target_modules", {"q_proj", "v_proj"});
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::invalid_argument, "'q_proj' matches no layer of this model");
}

TEST_F(PeftErrors, HeadBiasCopiesMustBeCopies) {
  copy("lora_bias_all_head");
  EXPECT_NO_THROW(load());
  change_tensors([](auto& tensors) { tensors["base_model.model.classifier.modules_to_save.bias"] += 1; });
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "tensor 'classifier.modules_to_save.bias': expected a copy of 'classifier.bias'");
}

class PeftAgreement : public PeftErrors {
 protected:
  PeftAgreement() {
    const auto model = tiny_bert();
    const AdapterSet set = load_peft(*model, read_peft(folder_.path()), {});
    write_peft(folder_.path(), set, {}, {});
  }
};

TEST_F(PeftAgreement, OptionsMustAgreeWithLowrankJson) {
  set("lora_dropout", 0.5);
  set("target_modules", {"query"});
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "lowrank.json and adapter_config.json disagree on lora_dropout: 0.1 against 0.5");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, R"(disagree on target_modules: ["query","value"] against ["query"])");
}

TEST_F(PeftAgreement, MethodMustAgree) {
  set("use_dora", true);
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, R"(disagree on the method: "lora" against "dora")");
}

TEST_F(PeftAgreement, PatternsMustAgreeForEveryModule) {
  set("alpha_pattern", {{"query", 3}});
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "self.query' would get another scale (2 against 0.75)");
  expect_untouched();
}

TEST_F(PeftAgreement, OtherFormatOfLowrankJson) {
  write_file_atomic(folder_ / "lowrank.json", R"({"format": 2, "adapter": {}})");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::unsupported, "expected format 1, got 2");
  write_file_atomic(folder_ / "lowrank.json", "[]");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "expected an object with 'format' and 'adapter'");
}

}  // namespace
}  // namespace lowrank::adapters
