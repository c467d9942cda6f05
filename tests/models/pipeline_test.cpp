// Diffusers folders and original checkpoints: loaded, saved, and refused.
#include "lowrank/models/diffusion/pipeline.h"

#include "models/diffusion_support.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"

#include "lowrank/base/file.h"

namespace lowrank::models {

/// Tiny configurations of both kinds, as the goldens have them.
Json tiny_configs(const std::string& kind) {
  Json configs = pipeline_configs(kind);
  configs["unet"] = read_json(diffusion_golden("unet_" + kind + ".json"));
  configs["vae"] = read_json(diffusion_golden("vae.json"));
  configs["text_encoder"] = read_json(diffusion_golden("clip.json"));
  if (kind == "sdxl") configs["text_encoder_2"] = read_json(diffusion_golden("clip_projection.json"));
  return configs;
}

std::vector<std::pair<std::string, torch::nn::Module*>> parts(const Pipeline& pipeline) {
  std::vector<std::pair<std::string, torch::nn::Module*>> all{
      {"unet", pipeline.unet.get()}, {"vae", pipeline.vae.get()}, {"text_encoder", pipeline.text_encoder.get()}};
  if (pipeline.is_xl()) all.emplace_back("text_encoder_2", pipeline.text_encoder_2.get());
  return all;
}

void expect_equal(const Pipeline& a, const Pipeline& b) {
  const auto first = parts(a), second = parts(b);
  ASSERT_EQ(first.size(), second.size());
  for (size_t i = 0; i < first.size(); ++i) {
    const auto theirs = second[i].second->named_parameters();
    for (const auto& parameter : first[i].second->named_parameters()) {
      EXPECT_TRUE(at::equal(parameter.value(), theirs[parameter.key()])) << first[i].first << " " << parameter.key();
    }
  }
}

class PipelineFiles : public ::testing::TestWithParam<const char*> {
 protected:
  PipelineFiles() {
    for (const auto& [name, part] : parts(pipeline_)) fill_fixed(*part);
  }

  test::TempDir folder_;
  Pipeline pipeline_ = make_pipeline(tiny_configs(GetParam()), GetParam(), at::kFloat);
};

TEST_P(PipelineFiles, FolderGivesBackWhatWasSaved) {
  save_diffusers(folder_ / "model", pipeline_);
  const Pipeline loaded = load_pipeline(folder_ / "model", at::kFloat);
  expect_equal(loaded, pipeline_);
  for (const auto& parameter : loaded.unet->parameters()) EXPECT_FALSE(parameter.requires_grad());
  EXPECT_EQ(loaded.unet->json(), pipeline_.unet->json());
  EXPECT_EQ(loaded.text_encoder->json()["dtype"], "float32");
  EXPECT_EQ(loaded.model_index["tokenizer"], Json({nullptr, nullptr}));  // there was none to save
  save_diffusers(folder_ / "again", loaded);
  for (const char* file : {"unet/diffusion_pytorch_model.safetensors", "text_encoder/config.json", "model_index.json"}) {
    EXPECT_EQ(read_file(folder_ / "model" / file), read_file(folder_ / "again" / file)) << file;
  }
}

TEST_P(PipelineFiles, CheckpointGivesBackWhatWasSaved) {
  save_checkpoint(folder_ / "model.safetensors", pipeline_);
  const Pipeline loaded = load_pipeline(folder_ / "model.safetensors", at::kFloat);
  expect_equal(loaded, pipeline_);
  EXPECT_EQ(configs_of(loaded), configs_of(pipeline_));
}

TEST_P(PipelineFiles, CastsToTheAskedDtype) {
  save_diffusers(folder_ / "model", pipeline_);
  const Pipeline narrow = load_pipeline(folder_ / "model", at::kHalf);
  EXPECT_EQ(narrow.unet->parameters().front().scalar_type(), at::kHalf);
  EXPECT_EQ(narrow.vae->parameters().front().scalar_type(), at::kFloat);  // force_upcast
  EXPECT_EQ(load_pipeline(folder_ / "model", at::kBFloat16).vae->parameters().front().scalar_type(), at::kBFloat16);
}

INSTANTIATE_TEST_SUITE_P(Kinds, PipelineFiles, ::testing::Values("sd15", "sdxl"), [](const auto& i) { return std::string(i.param); });

TEST(OriginalCheckpoint, HoldsTheTensorsThatDiffusersConversionReads) {
  test::TempDir folder;
  const Pipeline pipeline = make_pipeline(tiny_configs("sdxl"), "sdxl", at::kFloat);
  fill_fixed(*pipeline.text_encoder_2);
  save_checkpoint(folder / "model.safetensors", pipeline);
  auto written = tensor::load_tensors(folder / "model.safetensors");
  EXPECT_EQ(written.at("first_stage_model.decoder.mid.attn_1.proj_out.weight").sizes(), at::IntArrayRef({16, 16, 1, 1}));
  for (const auto& [name, value] : tensor::load_tensors(diffusion_golden("open_clip.safetensors"))) {
    ASSERT_TRUE(written.contains(name)) << name;
    EXPECT_LT(difference(written.at(name), value), 1e-6) << name;
    written.erase(name);
  }
  for (const auto& [name, value] : written) EXPECT_FALSE(name.starts_with("conditioner.embedders.1.")) << name;
}

class PipelineFolder : public ::testing::Test {
 protected:
  PipelineFolder() {
    for (const auto& [name, part] : parts(pipeline_)) fill_fixed(*part);
    save_diffusers(folder_, pipeline_);
  }
  void edit(const std::string& file, const std::function<void(Json&)>& change) {
    Json json = read_json(folder_ / file);
    change(json);
    write_file_atomic(folder_ / file, format_json(json));
  }
  Pipeline load(const std::string& variant = "") { return load_diffusers(folder_, at::kFloat, variant); }

  test::TempDir temp_;
  fs::path folder_ = temp_ / "model";
  const fs::path weights_ = folder_ / "unet" / "diffusion_pytorch_model.safetensors";
  Pipeline pipeline_ = make_pipeline(tiny_configs("sd15"), "sd15", at::kFloat);
};

TEST_F(PipelineFolder, ReadsVariantsAndShards) {
  fs::rename(weights_, folder_ / "unet" / "diffusion_pytorch_model.fp16.safetensors");
  EXPECT_TRUE(at::equal(load().unet->parameters().front(), pipeline_.unet->parameters().front()));
  EXPECT_LOWRANK_ERROR(load("fp16"), ErrorKind::io,
                       "expected diffusion_pytorch_model.fp16.safetensors or its shards, got variants");  // the VAE's
  const auto tensors = tensor::load_tensors(folder_ / "unet" / "diffusion_pytorch_model.fp16.safetensors");
  fs::remove(folder_ / "unet" / "diffusion_pytorch_model.fp16.safetensors");
  tensor::TensorMap shards[2];
  Json index = {{"metadata", {{"total_size", 1}}}, {"weight_map", Json::object()}};
  for (const auto& [name, value] : tensors) {
    const bool second = name > "mid";
    shards[second].emplace(name, value);
    index["weight_map"][name] = fmt::format("diffusion_pytorch_model-0000{}-of-00002.safetensors", second + 1);
  }
  for (int i : {0, 1})
    tensor::save_tensors(folder_ / "unet" / fmt::format("diffusion_pytorch_model-0000{}-of-00002.safetensors", i + 1), shards[i], {});
  write_file_atomic(folder_ / "unet" / "diffusion_pytorch_model.safetensors.index.json", format_json(index));
  EXPECT_TRUE(at::equal(load().unet->parameters().back(), pipeline_.unet->parameters().back()));
}

TEST_F(PipelineFolder, KeepsTokenizersAndWhatElseTheFolderHolds) {
  fs::create_directory(folder_ / "tokenizer");
  write_file_atomic(folder_ / "tokenizer" / "merges.txt", "a b\n");
  edit("model_index.json", [](Json& index) { index["tokenizer"] = {"transformers", "CLIPTokenizer"}; });
  save_diffusers(temp_ / "copy", load());
  EXPECT_EQ(read_file(temp_ / "copy" / "tokenizer" / "merges.txt"), "a b\n");
  EXPECT_EQ(read_json(temp_ / "copy" / "model_index.json"), read_json(folder_ / "model_index.json"));
}

TEST_F(PipelineFolder, ReadsTheSchedulerThatPythonWrites) {
  write_file_atomic(folder_ / "scheduler" / "scheduler_config.json",
                    R"({"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity, "note": "a \"-Infinity\""})");
  EXPECT_EQ(load().scheduler, Json({{"_class_name", "DPMSolverMultistepScheduler"}, {"note", "a \"-Infinity\""}}));
}

TEST_F(PipelineFolder, ReadsTheAttentionNamesOfEarlyAutoencodersAndBareTextNames) {
  const auto rename = [&](const char* file, const std::vector<std::pair<std::string, std::string>>& pairs) {
    tensor::TensorMap renamed;
    for (const auto& [stored, value] : tensor::load_tensors(folder_ / file)) {
      std::string name = stored;
      for (const auto& [from, to] : pairs) {
        if (const size_t at = name.find(from); at != std::string::npos) name.replace(at, from.size(), to);
      }
      renamed.emplace(name, value);
    }
    tensor::save_tensors(folder_ / file, renamed, {});
  };
  rename("vae/diffusion_pytorch_model.safetensors",
         {{".to_q.", ".query."}, {".to_k.", ".key."}, {".to_v.", ".value."}, {".to_out.0.", ".proj_attn."}});
  rename("text_encoder/model.safetensors", {{"text_model.", ""}});
  expect_equal(load(), pipeline_);
}

TEST_F(PipelineFolder, RefusesWhatItDoesNotHonour) {
  edit("unet/config.json", [](Json& c) {
    c["class_embed_type"] = "timestep", c["resnet_out_scale_factor"] = 2, c["fancy"] = 1, c["norm_num_groups"] = nullptr;
  });
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "key 'norm_num_groups': expected a positive integer, got null");
  edit("unet/config.json", [](Json& c) { c.erase("norm_num_groups"), c["norm_num_groups"] = 4; });
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::unsupported, "key 'class_embed_type': expected null, got \"timestep\"");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::unsupported, "key 'resnet_out_scale_factor': expected 1, got 2");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::unsupported, "key 'fancy' (1) is not known");
}

TEST_F(PipelineFolder, RefusesOtherPipelinesAndClasses) {
  edit("model_index.json", [](Json& index) {
    index["_class_name"] = "FluxPipeline", index["unet"] = {"diffusers", "UNet2DModel"}, index["prior"] = {"a", "b"};
  });
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::unsupported, "expected StableDiffusionPipeline or StableDiffusionXLPipeline, got 'FluxPipeline'");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::unsupported,
                       "component 'unet': expected [\"diffusers\",\"UNet2DConditionModel\"], got [\"diffusers\",\"UNet2DModel\"]");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::unsupported, "component 'prior' ([\"a\",\"b\"]) is not known");
}

TEST_F(PipelineFolder, RefusesPicklesWithTheWayOut) {
  fs::rename(weights_, folder_ / "unet" / "diffusion_pytorch_model.bin");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::unsupported, "got only pickles: diffusion_pytorch_model.bin");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::unsupported, "save_pretrained(OUT, safe_serialization=True)");
  write_file_atomic(temp_ / "model.ckpt", "PK\x03\x04");
  EXPECT_LOWRANK_ERROR(load_pipeline(temp_ / "model.ckpt", at::kFloat), ErrorKind::unsupported, "from_single_file(FILE)");
}

TEST_F(PipelineFolder, NamesTensorsThatLackDoNotFitOrBelongToNothing) {
  auto tensors = tensor::load_tensors(weights_);
  tensors.erase("conv_in.bias");
  tensors["conv_out.bias"] = at::zeros({5});
  tensors["extra"] = at::zeros({1});
  tensors["conv_norm_out.bias"][0] = std::nan("");
  tensor::save_tensors(weights_, tensors, {});
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "tensor 'conv_in.bias' is missing");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "tensor 'conv_out.bias': expected shape [4], got [5]");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "tensor 'extra' belongs to nothing in this model");
  EXPECT_LOWRANK_ERROR(load(), ErrorKind::file_format, "tensor 'conv_norm_out.bias' holds NaN or infinity");
}

TEST_F(PipelineFolder, CheckpointLeavesEmaAndBuffersUnreadAndRefusesOthers) {
  const fs::path file = temp_ / "model.safetensors";
  save_checkpoint(file, pipeline_);
  const io::Metadata metadata = io::TensorFile::open(file).metadata();
  auto tensors = tensor::load_tensors(file);
  tensors["model_ema.decay"] = at::zeros({});
  tensors["alphas_cumprod"] = at::zeros({1000});
  tensors["cond_stage_model.transformer.text_model.embeddings.position_ids"] = at::arange(9).unsqueeze(0);
  tensor::save_tensors(file, tensors, metadata);
  expect_equal(load_checkpoint(file, at::kFloat), pipeline_);
  tensors["model.diffusion_model.control"] = at::zeros({1});
  tensor::save_tensors(file, tensors, metadata);
  EXPECT_LOWRANK_ERROR(load_checkpoint(file, at::kFloat), ErrorKind::file_format, "'model.diffusion_model.control' belongs to nothing");
  tensor::save_tensors(file, {{"lora_unet_mid_block.lora_up.weight", at::zeros({1})}}, {});
  EXPECT_LOWRANK_ERROR(load_checkpoint(file, at::kFloat), ErrorKind::unsupported, "got an adapter's file");
  tensor::save_tensors(file, {{"double_blocks.0.weight", at::zeros({1})}}, {});
  EXPECT_LOWRANK_ERROR(load_checkpoint(file, at::kFloat), ErrorKind::unsupported, "got tensors like 'double_blocks.0.weight'");
}

}  // namespace lowrank::models
