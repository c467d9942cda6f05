// PEFT folders with convolutions: PEFT's own (tools/golden/peft_convolutions.py) read, compared with its merged weights and written
// again; ours read back. Set LOWRANK_PEFT_OUT=DIR to keep ours for `tools/golden/peft_convolutions.py --check DIR`.
#include <ATen/ops/equal.h>
#include <cstdlib>

#include "adapters/tiny_bert.h"
#include "support/expect_error.h"
#include "support/fixed_init.h"
#include "support/temp_dir.h"

#include "lowrank/adapters/dialects/peft.h"
#include "lowrank/base/file.h"
#include "lowrank/base/log.h"
#include "lowrank/nn/conv2d.h"

namespace lowrank::adapters {
namespace {

namespace fs = std::filesystem;

const fs::path kFolder = fs::path(LOWRANK_SOURCE_DIR) / "tests/golden/peft_convolutions";

std::shared_ptr<torch::nn::Module> tiny_net() {
  const at::NoGradGuard no_grad;
  auto net = std::make_shared<test::Container>();
  net->register_module("conv_in", std::make_shared<nn::Conv2d>(nn::Conv2dOptions{.in = 6, .out = 16, .kernel = {3, 3}, .padding = {1, 1}}));
  net->register_module("down", std::make_shared<nn::Conv2d>(nn::Conv2dOptions{.in = 16, .out = 24, .kernel = {3, 2}, .stride = {2, 2}}));
  net->register_module("grouped", std::make_shared<nn::Conv2d>(nn::Conv2dOptions{.in = 24, .out = 16, .kernel = {3, 3}, .groups = 2}));
  net->register_module("proj", std::make_shared<nn::Conv2d>(nn::Conv2dOptions{.in = 16, .out = 12}));
  net->register_module("fc", std::make_shared<nn::Linear>(12, 8));
  const auto tensors = tensor::load_tensors(kFolder / "base.safetensors");
  for (auto& parameter : net->named_parameters()) parameter.value().copy_(tensors.at(parameter.key()));
  return net;
}

AdapterConfig config_of(const char* method, const char* options) {
  Json json = make_config(method).to_json();
  json.update(parse_json(options, method));
  return AdapterConfig::from_json(json);
}

std::vector<std::string> names(const AdapterSet& set) {
  std::vector<std::string> found;
  for (const auto& entry : set.modules) found.push_back(entry.module);
  return found;
}

void expect_equal(const AdapterSet& one, const AdapterSet& two) {
  const auto a = one.parameters(), b = two.parameters();
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].first, b[i].first);
    EXPECT_TRUE(at::equal(a[i].second, b[i].second)) << a[i].first;
  }
}

class PeftConvolutions : public testing::TestWithParam<const char*> {};

TEST_P(PeftConvolutions, AreReadComparedAndWrittenAgain) {
  const fs::path golden = kFolder / GetParam();
  const auto model = tiny_net();
  const PeftFolder folder = read_peft(golden);
  const AdapterSet set = load_peft(*model, folder, {});
  const auto expected = tensor::load_tensors(golden / "expected.safetensors");
  EXPECT_EQ(set.modules.size(), expected.size());
  for (const auto& entry : set.modules) {
    entry.host->merge();
    const at::Tensor& theirs = expected.at(entry.module + ".weight");
    EXPECT_LT((entry.host->weight() - theirs).abs().max().item<double>(), 1e-6 * theirs.abs().max().item<double>()) << entry.module;
    entry.host->unmerge();
  }
  const lowrank::test::TempDir out;
  write_peft(out.path(), set, {}, folder.context);
  EXPECT_LT(verify_peft(out.path(), set), 1e-6);
  EXPECT_EQ(read_file(out / "adapter_model.safetensors"), read_file(golden / "adapter_model.safetensors"));
  const Json ours = read_json(out / "adapter_config.json"), theirs = read_json(golden / "adapter_config.json");
  for (const auto& [key, value] : theirs.items()) EXPECT_EQ(ours.value(key, Json()), value) << key;
}

INSTANTIATE_TEST_SUITE_P(Golden, PeftConvolutions, testing::Values("lora", "dora", "lokr", "lokr_effective"));

struct Written {
  std::string name;
  const char *method, *options;
};

void PrintTo(const Written& one, std::ostream* out) { *out << one.name; }

class OurConvolutions : public testing::TestWithParam<Written> {};

TEST_P(OurConvolutions, ComeBackExactlyFromPeftsTwoFilesAlone) {
  const at::NoGradGuard no_grad;
  const auto model = tiny_net();
  const AdapterSet set = attach(*model, config_of(GetParam().method, GetParam().options), {});
  uint32_t salt = 1;
  for (auto& [name, value] : set.parameters()) at::Tensor(value).add_(lowrank::test::fixed(value.sizes(), salt++, 0.3, at::kFloat));
  const lowrank::test::TempDir temporary;
  const char* keep = std::getenv("LOWRANK_PEFT_OUT");
  const fs::path out = keep == nullptr ? temporary.path() : fs::path(keep) / GetParam().name;
  fs::create_directories(out);
  write_peft(out, set, {}, {});
  EXPECT_LT(verify_peft(out, set), 1e-6);
  expect_equal(set, load_peft(*tiny_net(), read_peft(out), {}));
  fs::remove(out / "lowrank.json");
  const AdapterSet alone = load_peft(*tiny_net(), read_peft(out), {});
  expect_equal(set, alone);
  tensor::TensorMap expected;
  for (size_t i = 0; i < set.modules.size(); ++i) {
    const at::Tensor w = set.modules[i].host->matrix(), adapted = set.modules[i].adapter->apply_to_weight(w);
    EXPECT_LT((adapted - alone.modules[i].adapter->apply_to_weight(w)).abs().max().item<double>(), 1e-6) << set.modules[i].module;
    expected[set.modules[i].module + ".weight"] = adapted.view(set.modules[i].host->weight().sizes());
  }
  tensor::save_tensors(out / "expected.safetensors", expected, {});
}

INSTANTIATE_TEST_SUITE_P(
    Cases, OurConvolutions,
    testing::Values(
        Written{"lora_conv_rank", "lora", R"({"rank": 4, "alpha": 6, "conv-rank": 2, "conv-alpha": 1, "target-modules": ["all"],
                                              "exclude-modules": ["grouped"], "rank-pattern": ["down=3"]})"},
        Written{"dora_conv", "dora", R"({"rank": 3, "target-modules": ["all-conv"], "exclude-modules": ["grouped"], "rslora": true})"},
        Written{"lokr_conv", "lokr", R"({"rank": 2, "conv-rank": 1, "factor": 4, "target-modules": ["all"]})"},
        Written{"lokr_conv_tucker", "lokr", R"({"rank": 1, "alpha": 3, "factor": 4, "tucker": true, "target-modules": ["all"]})"},
        Written{"lokr_conv_full", "lokr", R"({"rank": 2, "full-matrix": true, "target-modules": ["all-conv"]})"}),
    [](const auto& info) { return info.param.name; });

TEST(ConvolutionTargets, KindsOfLayersAndTheirRanks) {
  const auto chosen = [](const char* options) { return names(attach(*tiny_net(), config_of("lora", options), {})); };
  using Strings = std::vector<std::string>;
  EXPECT_EQ(chosen(R"({"rank": 2})"), (Strings{"fc"}));
  EXPECT_EQ(chosen(R"({"rank": 2, "target-modules": ["all-conv"]})"), (Strings{"conv_in", "down", "grouped", "proj"}));
  EXPECT_EQ(chosen(R"({"rank": 2, "target-modules": ["all"]})"), (Strings{"conv_in", "down", "grouped", "proj", "fc"}));

  const AdapterSet set = attach(*tiny_net(), config_of("lora", R"({"rank": 4, "alpha": 6, "conv-rank": 2, "conv-alpha": 1,
      "target-modules": ["all"], "rank-pattern": ["down=3"], "alpha-pattern": ["proj=9"]})"),
                                {});
  std::vector<std::pair<int64_t, double>> strengths;
  for (const auto& entry : set.modules) strengths.emplace_back(entry.options.rank, entry.options.alpha);
  EXPECT_EQ(strengths, (std::vector<std::pair<int64_t, double>>{{2, 1}, {3, 1}, {2, 1}, {4, 9}, {4, 6}}));
}

TEST(ConvolutionTargets, WhatPeftCannotSayIsRefused) {
  const auto refuse = [](const char* method, const char* options, const char* part) {
    const auto model = tiny_net();
    const AdapterSet set = attach(*model, config_of(method, options), {});
    EXPECT_LOWRANK_ERROR(check_peft(set), ErrorKind::unsupported, part);
  };
  refuse("lora", R"({"rank": 2, "tucker": true, "target-modules": ["down"]})", "[down] PEFT's LoRA has no Tucker form");
  refuse("dora", R"({"rank": 2, "tucker": true, "target-modules": ["down"]})", "[down] PEFT's LoRA has no Tucker form");
  refuse("lora", R"({"rank": 2, "target-modules": ["grouped"]})", "[grouped] expected a convolution of one group, got 2");
  const auto model = tiny_net();
  const AdapterSet pointwise = attach(*model, config_of("lora", R"({"rank": 2, "tucker": true, "target-modules": ["proj", "fc"]})"), {});
  EXPECT_NO_THROW(check_peft(pointwise));  // the form is for larger kernels alone
}

TEST(ConvolutionTargets, AFolderOfAGroupedConvolutionIsRefused) {
  const auto model = tiny_net();
  AdapterSet set = attach(*model, config_of("lora", R"({"rank": 2, "target-modules": ["down"]})"), {});
  const lowrank::test::TempDir out;
  write_peft(out.path(), set, {}, {});
  fs::remove(out / "lowrank.json");
  Json config = read_json(out / "adapter_config.json");
  config["target_modules"] = {"grouped"};
  write_file_atomic(out / "adapter_config.json", format_json(config));
  EXPECT_LOWRANK_ERROR(load_peft(*tiny_net(), read_peft(out.path()), {}), ErrorKind::unsupported, "which is another update");
}

TEST(ConvolutionTargets, DilationIsWarnedOf) {
  std::vector<std::string> lines;
  set_log_sink([&](LogLevel level, std::string_view, std::string_view text) {
    if (level == LogLevel::warning) lines.emplace_back(text);
  });
  auto net = std::make_shared<test::Container>();
  net->register_module("wide", std::make_shared<nn::Conv2d>(nn::Conv2dOptions{.in = 4, .out = 4, .kernel = {3, 3}, .dilation = {2, 2}}));
  const AdapterSet set = attach(*net, config_of("lora", R"({"rank": 2, "target-modules": ["wide"]})"), {});
  const lowrank::test::TempDir out;
  write_peft(out.path(), set, {}, {});
  set_log_sink({});
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_NE(lines[0].find("leaves the dilation out of lora_A"), std::string::npos);
}

}  // namespace
}  // namespace lowrank::adapters
