// Adapter files on a pipeline: merged, unmerged, weighted, by block, and those that do not fit.
#include "lowrank/generate/adapted_pipeline.h"

#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/temp_dir.h"
#include "tiny.h"

#include "lowrank/adapters/dialects/base_weights.h"
#include "lowrank/generate/sampling.h"

namespace lowrank::generate {
namespace {

double gap(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

at::Tensor picture_of(const models::Pipeline& pipeline) {
  const PromptEncoder encoder(pipeline, test::golden("text/clip_files"), {});
  const std::vector<uint64_t> seeds{3};
  return sample(pipeline, encoder.encode("a photograph", "dark"), {.sampler = {.steps = 3}, .cfg = 5, .height = 12, .width = 16}, seeds);
}

class Adapted : public ::testing::Test {
 protected:
  std::filesystem::path adapter(const std::string& method, uint32_t salt = 40) {
    const std::filesystem::path file = folder_ / fmt::format("{}{}.safetensors", method, salt);
    test::save_tiny_adapter(file, pipeline_, method, salt);
    return file;
  }
  lowrank::test::TempDir folder_;
  models::Pipeline pipeline_ = test::tiny_pipeline("sd15");
  const at::Tensor base_ = picture_of(pipeline_);
};

class EveryKind : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Kinds, EveryKind, ::testing::Values("sd15", "sdxl"), [](const auto& i) { return std::string(i.param); });

TEST_P(EveryKind, ACheckpointHasTheLayersAndWeightsOfItsFolder) {
  const lowrank::test::TempDir folder;
  const models::Pipeline pipeline = test::tiny_pipeline(GetParam());
  models::save_diffusers(folder / "model", pipeline);
  models::save_checkpoint(folder / "model.safetensors", pipeline);
  const adapters::BaseWeights ours(folder / "model"), original(folder / "model.safetensors");
  EXPECT_EQ(original.layout().modules.size(), ours.layout().modules.size());
  for (const auto& module : ours.layout().modules) {
    const std::string name = module.component + "." + module.path;
    const auto* found = original.layout().find(module.component, module.path);
    ASSERT_NE(found, nullptr) << name;
    EXPECT_EQ(std::tie(found->out, found->columns, found->kernel), std::tie(module.out, module.columns, module.kernel)) << name;
    const adapters::ModuleRecord layer{module.component, module.path, {}};
    EXPECT_TRUE(at::equal(original.weight(layer), ours.weight(layer))) << name;
  }
  EXPECT_EQ(layout_of(pipeline).modules.size(), ours.layout().modules.size());
}

class EveryMethod : public Adapted, public ::testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(Methods, EveryMethod, ::testing::Values("lora", "dora", "lokr"),
                         [](const auto& i) { return std::string(i.param); });

TEST_P(EveryMethod, MergedAndSavedModelsMakeTheSamePicture) {
  const std::vector<AdapterUse> uses{{adapter(GetParam()), 0.7}};
  const auto applied = apply_adapters(pipeline_, uses);
  EXPECT_EQ(applied.at(0).modules, test::tiny_adapter(pipeline_, GetParam(), 40).modules.size());
  const at::Tensor adapted = picture_of(pipeline_);
  EXPECT_GT(gap(adapted, base_), 1e-2);
  const int64_t dense = merge_adapters(pipeline_, /*all=*/false);
  EXPECT_EQ(dense == 0, std::string_view(GetParam()) == "lora");
  EXPECT_LT(gap(picture_of(pipeline_), adapted), 1e-3);
  EXPECT_EQ(dense > 0 ? dense : merge_adapters(pipeline_, /*all=*/true), static_cast<int64_t>(applied[0].modules));
  EXPECT_LT(gap(picture_of(pipeline_), adapted), 1e-3);
  models::save_diffusers(folder_ / "merged", pipeline_);
  EXPECT_LT(gap(picture_of(models::load_pipeline(folder_ / "merged", at::kFloat)), adapted), 1e-3);
  models::save_checkpoint(folder_ / "merged.safetensors", pipeline_);
  EXPECT_LT(gap(picture_of(models::load_pipeline(folder_ / "merged.safetensors", at::kFloat)), adapted), 1e-3);
}

TEST_F(Adapted, SeveralAddUpByTheirWeights) {
  const auto one = adapter("lora", 40), two = adapter("lokr", 60);
  apply_adapters(pipeline_, std::vector<AdapterUse>{{one, 0.5}, {two, -0.25}, {one, 0.25}});
  const auto host_of = [](const models::Pipeline& pipeline) {
    for (const auto& [path, host] : nn::hosts_of(*pipeline.unet)) {
      if (path.ends_with("attn1.to_q")) return host;
    }
    return static_cast<nn::Host*>(nullptr);
  };
  nn::Host* host = host_of(pipeline_);
  const at::Tensor before = host->matrix().clone();
  merge_adapters(pipeline_, true);
  at::Tensor expected = before.to(at::kDouble);
  for (const auto& [method, salt, weight] : {std::tuple{"lora", 40U, 0.75}, {"lokr", 60U, -0.25}}) {
    for (const auto& module : test::tiny_adapter(test::tiny_pipeline("sd15"), method, salt).modules) {
      if (module.component == "unet" && module.module.ends_with("down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"))
        expected += weight * adapters::delta(module);
    }
  }
  EXPECT_LT(gap(host->matrix(), expected), 1e-6);
  EXPECT_GT(gap(before, expected), 1e-2);
}

TEST_F(Adapted, BlocksHaveWeightsOfTheirOwn) {
  const std::vector<AdapterUse> uses{{adapter("lora"), 0.8}};
  const std::vector<BlockWeight> blocks{{"unet", 0.5}, {"unet.mid_block", 0.0}, {"text_encoder", 2.0}};
  apply_adapters(pipeline_, uses, blocks);
  const auto weight_in = [&](torch::nn::Module& model, std::string_view start) {
    std::set<double> found;
    for (const auto& [path, host] : nn::hosts_of(model)) {
      for (const auto& entry : host->adapters())
        if (path.starts_with(start)) found.insert(entry.second->multiplier());
    }
    return found;
  };
  EXPECT_THAT(weight_in(*pipeline_.unet, "down_blocks"), ::testing::ElementsAre(0.4));
  EXPECT_THAT(weight_in(*pipeline_.unet, "mid_block"), ::testing::ElementsAre(0.0));
  EXPECT_THAT(weight_in(*pipeline_.text_encoder, ""), ::testing::ElementsAre(1.6));
  models::Pipeline other = test::tiny_pipeline("sd15");
  EXPECT_LOWRANK_ERROR(apply_adapters(other, uses, std::vector<BlockWeight>{{"unet.mid", 1}}), ErrorKind::invalid_argument,
                       "no adapted layer lies in 'unet.mid'");
}

TEST_F(Adapted, DifferencesOfBiasesAndNormsAreAdded) {
  const auto value = [&](at::IntArrayRef sizes, uint32_t salt) { return lowrank::test::fixed(sizes, salt, 0.3, at::kFloat); };
  const tensor::TensorMap tensors{{"lora_unet_conv_in.diff", value({8, 4, 3, 3}, 1)},
                                  {"lora_unet_conv_in.diff_b", value({8}, 2)},
                                  {"lora_unet_conv_norm_out.w_norm", value({8}, 3)},
                                  {"lora_unet_conv_norm_out.b_norm", value({8}, 4)}};
  tensor::save_tensors(folder_ / "full.safetensors", tensors, {});
  const auto parameter = [&](const char* name) { return pipeline_.unet->named_parameters()[name].clone(); };
  const at::Tensor bias = parameter("conv_in.bias"), norm = parameter("conv_norm_out.weight"), shift = parameter("conv_norm_out.bias");
  const auto applied = apply_adapters(pipeline_, std::vector<AdapterUse>{{folder_ / "full.safetensors", 0.5}},
                                      std::vector<BlockWeight>{{"unet.conv_norm_out", 3}});
  EXPECT_EQ(applied.at(0).modules, 2U);
  EXPECT_EQ(merge_adapters(pipeline_, true), 1);
  EXPECT_LT(gap(parameter("conv_in.bias"), bias + 0.5 * value({8}, 2)), 1e-6);
  EXPECT_LT(gap(parameter("conv_norm_out.weight"), norm + 1.5 * value({8}, 3)), 1e-6);
  EXPECT_LT(gap(parameter("conv_norm_out.bias"), shift + 1.5 * value({8}, 4)), 1e-6);
}

TEST_F(Adapted, FilesThatDoNotFitAreRefused) {
  const models::Pipeline sdxl = test::tiny_pipeline("sdxl");
  test::save_tiny_adapter(folder_ / "xl.safetensors", sdxl, "lora", 1);
  EXPECT_THROW(apply_adapters(pipeline_, std::vector<AdapterUse>{{folder_ / "xl.safetensors", 1}}), Error);
  EXPECT_LT(gap(picture_of(pipeline_), base_), 1e-6);
  // Files of the real SDXL say so.
  EXPECT_LOWRANK_ERROR(apply_adapters(pipeline_, std::vector<AdapterUse>{{test::golden("dialects/kohya_sdxl.safetensors"), 1}}),
                       ErrorKind::shape, "SDXL");
  auto tensors = tensor::load_tensors(adapter("lora"));
  tensors["lora_unet_new_layer.lora_up.weight"] = at::zeros({2, 2});
  tensor::save_tensors(folder_ / "odd.safetensors", tensors, {});
  EXPECT_LOWRANK_ERROR(apply_adapters(pipeline_, std::vector<AdapterUse>{{folder_ / "odd.safetensors", 1}}), ErrorKind::file_format,
                       "lora_unet_new_layer");
}

TEST(AdapterUses, AreReadFromText) {
  EXPECT_EQ(parse_adapter_use("a/b.safetensors").weight, 1.0);
  EXPECT_EQ(parse_adapter_use("a/b.safetensors:-0.5").weight, -0.5);
  EXPECT_EQ(parse_adapter_use("a/b.safetensors:-0.5").name(), "b");
  EXPECT_EQ(parse_adapter_use("run:2/adapter").path, "run:2/adapter");
  EXPECT_EQ(parse_adapter_use("run/adapter/").name(), "adapter");
  EXPECT_LOWRANK_ERROR(parse_adapter_use(":0.5"), ErrorKind::invalid_argument, "expected FILE or FILE:WEIGHT");
  EXPECT_EQ(parse_block_weight("unet.mid_block=0.25").block, "unet.mid_block");
  EXPECT_LOWRANK_ERROR(parse_block_weight("unet.mid_block"), ErrorKind::invalid_argument, "expected BLOCK=WEIGHT");
}

}  // namespace
}  // namespace lowrank::generate
