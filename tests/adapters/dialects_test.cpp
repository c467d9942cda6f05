// The traps of adapter files: missing and narrow alphas, unknown keys, other models, tensors that do not fit, and what a conversion
// may lose.
#include "support/expect_close.h"
#include "support/expect_error.h"
#include "support/fixed_init.h"
#include "support/temp_dir.h"

#include "lowrank/adapters/dialects/convert.h"
#include "lowrank/adapters/dialects/live.h"
#include "lowrank/adapters/dialects/rewrite.h"
#include "lowrank/base/file.h"
#include "lowrank/nn/conv2d.h"
#include "lowrank/nn/linear.h"

namespace lowrank::adapters {
namespace {

using lowrank::test::close;
using lowrank::test::fixed;

constexpr const char* kQuery = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q";
constexpr const char* kKey = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k";

at::Tensor f32(at::IntArrayRef shape, uint32_t salt) { return fixed(shape, salt, 0.3, at::kFloat); }

// A model with a layer of each kind under diffusers' names.
struct TinyUnet : torch::nn::Module {
  TinyUnet() {
    linear = std::make_shared<nn::Linear>(6, 8);
    linear->set_weight(f32({8, 6}, 11));
    nn::Conv2dOptions options;
    options.in = 3, options.out = 4, options.kernel = {3, 3}, options.padding = {1, 1};
    conv = std::make_shared<nn::Conv2d>(options);
    conv->set_weight(f32({4, 3, 3, 3}, 12));
    register_module("proj_in", linear);
    register_module("conv_in", conv);
  }
  std::shared_ptr<nn::Linear> linear;
  std::shared_ptr<nn::Conv2d> conv;
};

class Files : public testing::Test {
 protected:
  ReadAdapter read(const tensor::TensorMap& tensors, const io::Metadata& metadata = {}, const ModelLayout* layout = nullptr) {
    tensor::save_tensors(path_, tensors, metadata);
    return read_adapter(path_, {"", layout, ""});
  }
  tensor::TensorMap pair(const std::string& stem, int64_t rank, int64_t out = 1280, int64_t in = 1280) {
    return {{stem + ".lora_down.weight", f32({rank, in}, 1)}, {stem + ".lora_up.weight", f32({out, rank}, 2)}};
  }
  std::string notes(const AdapterRecord& record) { return fmt::format("{}", fmt::join(record.notes, "\n")); }

  lowrank::test::TempDir folder_;
  std::filesystem::path path_ = folder_ / "a.safetensors";
};

using DialectFiles = Files;

TEST_F(DialectFiles, MissingAndZeroAlphaAreTheRankAndSaid) {
  tensor::TensorMap tensors = pair(kQuery, 4);
  const AdapterRecord record = read(tensors).record;
  EXPECT_EQ(record.modules.at(0).alpha, 4);
  EXPECT_EQ(record.modules.at(0).scale(), 1);
  EXPECT_THAT(notes(record), testing::HasSubstr("alpha is missing or 0 in 1 modules"));
  tensors[std::string(kQuery) + ".alpha"] = at::zeros({});
  EXPECT_EQ(read(tensors).record.modules.at(0).scale(), 1);
}

TEST_F(DialectFiles, AlphaInHalfPrecisionIsTakenAsItStandsAndSaid) {
  tensor::TensorMap tensors = pair(kQuery, 4);
  tensors[std::string(kQuery) + ".alpha"] = at::full({}, 257.0).to(at::kBFloat16);
  const AdapterRecord record = read(tensors).record;
  EXPECT_EQ(record.modules.at(0).alpha, 256);
  EXPECT_THAT(notes(record), testing::HasSubstr("BFloat16"));
}

TEST_F(DialectFiles, NumbersThatAreNoneAreRefusedByName) {
  tensor::TensorMap tensors = pair(kQuery, 4);
  tensors.begin()->second[1][7] = std::nanf("");
  EXPECT_LOWRANK_ERROR(read(tensors), ErrorKind::file_format,
                       "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q' lora_A holds NaN");
  tensors = pair(kQuery, 4);
  tensors[std::string(kQuery) + ".alpha"] = at::full({}, INFINITY);
  EXPECT_LOWRANK_ERROR(read(tensors), ErrorKind::file_format, "alpha: expected a finite number");
}

TEST_F(DialectFiles, TensorsThatDoNotFitAreRefusedTogether) {
  tensor::TensorMap tensors = pair(kQuery, 4);
  tensors[std::string(kQuery) + ".lora_up.weight"] = f32({1280, 5}, 2);
  tensors[std::string(kKey) + ".lora_down.weight"] = f32({4, 768}, 3);
  EXPECT_LOWRANK_ERROR(read(tensors), ErrorKind::file_format, "shapes do not fit each other: lora_A [4, 1280], lora_B [1280, 5]");
  EXPECT_LOWRANK_ERROR(read(tensors), ErrorKind::file_format, "no adapter that is known: lora_A [4, 768]");
}

TEST_F(DialectFiles, HalvesOfLohaOfTwoShapesAreRefused) {
  const std::string stem = std::string(kQuery) + ".hada_";
  tensor::TensorMap tensors = {
      {stem + "w1_a", f32({6, 2}, 1)}, {stem + "w1_b", f32({2, 5}, 2)}, {stem + "w2_a", f32({1, 2}, 3)}, {stem + "w2_b", f32({2, 5}, 4)}};
  EXPECT_LOWRANK_ERROR(read(tensors), ErrorKind::file_format, "expected two halves of one shape, got [6, 5] and [1, 5]");
  tensors[stem + "t1"] = f32({2, 2, 3, 3}, 5);
  EXPECT_LOWRANK_ERROR(read(tensors), ErrorKind::file_format, "no adapter that is known");
}

TEST_F(DialectFiles, UnknownKeysAreListedAndStopAConversion) {
  tensor::TensorMap tensors = pair(kQuery, 4);
  tensors["lora_unet_no_such_layer.lora_down.weight"] = f32({4, 8}, 3);
  tensors[std::string(kKey) + ".surprise"] = f32({4}, 3);
  AdapterRecord record = read(tensors).record;
  ASSERT_EQ(record.unknown.size(), 2);
  EXPECT_THAT(record.unknown, testing::Contains(testing::HasSubstr("neither SD 1.5 nor SDXL has such a layer")));
  EXPECT_LOWRANK_ERROR(fit_to(record, dialect_named("diffusers"), {}), ErrorKind::file_format, "lora_unet_no_such_layer");
}

TEST_F(DialectFiles, TwoSpellingsOfOneTensorAreRefused) {
  tensor::TensorMap tensors = pair("lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q", 4);
  tensors.merge(pair(kQuery, 4));
  EXPECT_LOWRANK_ERROR(read(tensors), ErrorKind::file_format, "in two spellings");
}

TEST_F(DialectFiles, AnAdapterOfSdxlOnSd15SaysSo) {
  const AdapterRecord record = read(pair(kKey, 4, 1280, 2048)).record;
  ASSERT_NE(guess_layout(record), nullptr);
  EXPECT_EQ(guess_layout(record)->name, "sdxl");
  EXPECT_LOWRANK_ERROR(check_fit(record, sd15_layout(), "a.safetensors"), ErrorKind::shape,
                       "this adapter was made for Stable Diffusion XL");
  EXPECT_LOWRANK_ERROR(check_fit(record, sd15_layout(), "a.safetensors"), ErrorKind::shape,
                       "1280 x 2048 in the file, 1280 x 768 in the model");
  check_fit(record, sdxl_layout(), "a.safetensors");
  const tensor::TensorMap deep = pair("lora_unet_middle_block_1_transformer_blocks_9_attn2_to_k", 4, 1280, 2048);
  EXPECT_LOWRANK_ERROR(read(deep, {}, &sd15_layout()), ErrorKind::shape, "this adapter was made for Stable Diffusion XL");
  TinyUnet tiny;
  EXPECT_LOWRANK_ERROR(attach_record(tiny, record, "unet", "a"), ErrorKind::shape, "the adapter fits Stable Diffusion XL");
}

TEST_F(DialectFiles, NamesOfAllSpellingsMeanOneLayer) {
  const auto module_of = [&](const std::string& stem) { return read(pair(stem, 4)).record.modules.at(0).name(); };
  const std::string query = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
  EXPECT_EQ(module_of(kQuery), query);
  EXPECT_EQ(module_of("lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q"), query);
  EXPECT_EQ(module_of("lycoris_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"), query);
  const std::string text = "text_model.encoder.layers.3.self_attn.out_proj";
  EXPECT_EQ(module_of("lora_te_text_model_encoder_layers_3_self_attn_out_proj"), "text_encoder." + text);
  EXPECT_EQ(module_of("lora_te1_encoder_layers_3_self_attn_out_proj"), "text_encoder." + text);
  EXPECT_EQ(module_of("lora_te2_text_model_encoder_layers_3_self_attn_out_proj"), "text_encoder_2." + text);
  EXPECT_EQ(module_of("lora_unet_output_blocks_2_1_conv"), "unet.up_blocks.0.upsamplers.0.conv");  // SD 1.5
  EXPECT_EQ(module_of("lora_unet_output_blocks_2_2_conv"), "unet.up_blocks.0.upsamplers.0.conv");  // SDXL
}

TEST_F(DialectFiles, AFileThatNobodyKnowsNamesWhatItHolds) {
  EXPECT_LOWRANK_ERROR(read({{"model.weight", f32({2, 2}, 1)}}), ErrorKind::file_format, "tensors such as 'model.weight'");
  EXPECT_LOWRANK_ERROR(dialect_named("kohia"), ErrorKind::invalid_argument, "did you mean 'kohya'");
}

TEST_F(DialectFiles, MixedRanksBecomePatterns) {
  tensor::TensorMap tensors = pair(kQuery, 4);
  tensors.merge(pair("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_k", 4));
  tensors.merge(pair(kKey, 8, 1280, 768));
  tensors[std::string(kKey) + ".alpha"] = at::full({}, 2.0);
  AdapterRecord record = read(tensors).record;
  const Stored stored = dialect_named("peft").write(record, {});
  const Json& config = stored.at(0).config;
  EXPECT_EQ(config["r"], 4);
  EXPECT_EQ(config["lora_alpha"], 4);
  EXPECT_EQ(config["rank_pattern"].dump(), R"({"^mid_block.attentions.0.transformer_blocks.0.attn2.to_k":8})");
  EXPECT_EQ(config["alpha_pattern"].dump(), R"({"^mid_block.attentions.0.transformer_blocks.0.attn2.to_k":2})");
}

TEST_F(DialectFiles, NamesOfSdxlAreWrittenAsSgmAndOfSd15AsDiffusers) {
  AdapterRecord xl = read(pair("lora_unet_mid_block_attentions_0_transformer_blocks_9_attn1_to_q", 4)).record;
  EXPECT_EQ(dialect_named("kohya").write(xl, {}).at(0).tensors.begin()->first,
            "lora_unet_middle_block_1_transformer_blocks_9_attn1_to_q.alpha");
  AdapterRecord sd = read(pair("lora_unet_middle_block_1_transformer_blocks_0_attn2_to_k", 4, 1280, 768)).record;
  const Stored written = dialect_named("kohya").write(sd, {});
  EXPECT_EQ(written.at(0).tensors.begin()->first, std::string(kKey) + ".alpha");
  EXPECT_EQ(written.at(0).metadata.at("modelspec.architecture"), "stable-diffusion-v1/lora");
  EXPECT_EQ(written.at(0).metadata.at("ss_network_dim"), "4");
}

TEST_F(DialectFiles, TheTrainersMetadataStaysAndDescribesTheNewTensors) {
  AdapterRecord record = read(pair(kQuery, 4), {{"ss_output_name", "cats"},
                                                {"ss_network_dim", "99"},
                                                {"modelspec.title", "Cats"},
                                                {"sshs_model_hash", "stale"},
                                                {"format", "pt"}})
                             .record;
  const io::Metadata metadata = dialect_named("kohya").write(record, {nullptr, "other"}).at(0).metadata;
  EXPECT_EQ(metadata.at("ss_output_name"), "cats");
  EXPECT_EQ(metadata.at("modelspec.title"), "Cats");
  EXPECT_EQ(metadata.at("ss_network_dim"), "4");
  EXPECT_NE(metadata.at("sshs_model_hash"), "stale");
  EXPECT_FALSE(metadata.contains("format"));
}

TEST_F(DialectFiles, EqualContentGivesEqualBytes) {
  AdapterRecord record = read(pair(kQuery, 4)).record, twin = record;
  save_adapter(folder_ / "one", dialect_named("kohya"), record, {nullptr, "t"});
  save_adapter(folder_ / "two", dialect_named("kohya"), twin, {nullptr, "t"});
  EXPECT_EQ(read_file(folder_ / "one"), read_file(folder_ / "two"));
}

class Refusals : public Files {
 protected:
  // DoRA on a small layer of the model in weights_.
  AdapterRecord dora() {
    tensor::TensorMap tensors = {{"unet.conv.lora_A.weight", f32({2, 6}, 1)},
                                 {"unet.conv.lora_B.weight", f32({5, 2}, 2)},
                                 {"unet.conv.lora_magnitude_vector", f32({5}, 3).abs() + 1}};
    return read(tensors).record;
  }
  std::filesystem::path model() {
    std::filesystem::create_directories(folder_ / "model" / "unet");
    tensor::save_tensors(folder_ / "model" / "unet" / "diffusion_pytorch_model.safetensors", {{"conv.weight", w_}}, {});
    return folder_ / "model";
  }
  at::Tensor w_ = f32({5, 6}, 9);
};

// A dialect that has plain LoRA alone.
class Plain : public Dialect {
 public:
  std::string_view name() const override { return "plain"; }
  std::string_view title() const override { return "plain"; }
  bool recognises(const Stored&) const override { return false; }
  AdapterRecord read(Stored, const ReadContext&) const override { return {}; }
  std::string refusal(const ModuleRecord& m, std::span<const ModuleRecord>) const override {
    return m.update == Update::lora && !m.has("lora_mid") && m.axis == MagnitudeAxis::none ? "" : "plain LoRA alone";
  }
  Stored write(AdapterRecord&, const WriteContext&) const override { return {}; }
};

TEST_F(Refusals, DoraIsNoPlainLora) {
  AdapterRecord record = dora();
  EXPECT_LOWRANK_ERROR(fit_to(record, Plain(), {}), ErrorKind::unsupported, "unet.conv (DoRA): plain LoRA alone");
  record = dora();
  EXPECT_LOWRANK_ERROR(fit_to(record, Plain(), {4, nullptr}), ErrorKind::unsupported, "the base weights are needed");
}

TEST_F(Refusals, AnApproximationSaysWhatItLost) {
  const BaseWeights base(model());
  AdapterRecord record = dora();
  const at::Tensor effect = adapted(record.modules[0], w_) - w_.to(at::kDouble);
  const auto changes = fit_to(record, Plain(), {3, &base});
  ASSERT_EQ(changes.size(), 1);
  EXPECT_TRUE(changes[0].lossy);
  const auto values = at::linalg_svdvals(effect);
  const double rest = values.slice(0, 3).norm().item<double>() / values.norm().item<double>();
  EXPECT_GT(rest, 1e-3);
  EXPECT_NEAR(changes[0].error, rest, 1e-6);  // Eckart-Young: nothing of rank 3 is nearer
  record = dora();
  EXPECT_LT(fit_to(record, Plain(), {5, &base})[0].error, 1e-6);  // the whole rank
}

TEST_F(Refusals, LokrWhoseLoraWouldBeLargerThanTheLayerIsRefused) {
  const auto lokr = [&] {
    return read({{std::string(kQuery) + ".lokr_w1", f32({32, 32}, 1)}, {std::string(kQuery) + ".lokr_w2", f32({40, 40}, 2)}}).record;
  };
  AdapterRecord record = lokr();
  EXPECT_EQ(lora_rank(record.modules[0]), 32 * 40);
  EXPECT_EQ(fit_to(record, Plain(), {}).at(0).rank, 1280);  // exactly the layer's own rank: still sayable
  tensor::TensorMap factored = {{std::string(kQuery) + ".lokr_w1", f32({32, 32}, 1)},
                                {std::string(kQuery) + ".lokr_w2_a", f32({40, 41}, 2)},
                                {std::string(kQuery) + ".lokr_w2_b", f32({41, 40}, 3)}};
  record = read(factored).record;
  EXPECT_LOWRANK_ERROR(fit_to(record, Plain(), {}), ErrorKind::unsupported, "LoKr");
}

TEST_F(Refusals, ANormOfZeroHasTheMagnitudeAsItsGain) {
  AdapterRecord record = dora();
  ModuleRecord& m = record.modules[0];
  const at::Tensor cancelled = -delta(m);
  EXPECT_TRUE(close(adapted(m, cancelled), at::zeros({5, 6}, at::kDouble), 1e-12));
}

class Live : public Files {
 protected:
  AdapterRecord record() {
    return read({{"unet.proj_in.lora_A.weight", f32({2, 6}, 1)},
                 {"unet.proj_in.lora_B.weight", f32({8, 2}, 2)},
                 {"unet.proj_in.lora_magnitude_vector", f32({8}, 3).abs() + 1},
                 {"unet.conv_in.lora_A.weight", f32({2, 3, 3, 3}, 4)},
                 {"unet.conv_in.lora_B.weight", f32({4, 2, 1, 1}, 5)},
                 {"unet.conv_in.lora_magnitude_vector", f32({1, 4, 1, 1}, 6).abs() + 1}})
        .record;
  }
  TinyUnet model_;
};

TEST_F(Live, ARecordOnAModelIsWhatItSays) {
  const at::NoGradGuard no_grad;
  const AdapterRecord file = record();
  ASSERT_EQ(attach_record(model_, file, "unet", "a", 0.5).size(), 2);
  const at::Tensor x = f32({2, 6}, 7), picture = f32({1, 3, 5, 5}, 8);
  const auto expected = [&](const char* path, const nn::Host& host) {
    for (const auto& module : file.modules) {
      const at::Tensor w = host.matrix().to(at::kDouble);
      if (module.module == path) return (w + 0.5 * (adapted(module, w) - w)).to(at::kFloat);
    }
    return at::Tensor();
  };
  EXPECT_TRUE(close(model_.linear->forward(x) - model_.linear->bias(), at::mm(x, expected("proj_in", *model_.linear).t()), 1e-5));
  const at::Tensor kernel = expected("conv_in", *model_.conv).view({4, 3, 3, 3});
  EXPECT_TRUE(close(model_.conv->forward(picture), at::conv2d(picture, kernel, model_.conv->bias(), 1, 1), 1e-5));
  model_.conv->merge();
  EXPECT_TRUE(close(model_.conv->weight(), kernel, 1e-6));
}

TEST_F(Live, AnAdapterOfAnotherModelLeavesTheModelAsItWas) {
  AdapterRecord file = record();
  file.modules[0].module = "mid_block.elsewhere";
  file.modules[1].tensors["lora_A"] = f32({2, 7}, 1);
  EXPECT_LOWRANK_ERROR(attach_record(model_, file, "unet", "a"), ErrorKind::shape, "the model has no such layer");
  EXPECT_LOWRANK_ERROR(attach_record(model_, file, "unet", "a"), ErrorKind::shape, "8 x 7 in the file, 8 x 6 in the model");
  EXPECT_TRUE(model_.linear->adapters().empty() && model_.conv->adapters().empty());
}

TEST_F(Live, ATrainedAdapterBecomesARecordOfTheSameUpdate) {
  const at::NoGradGuard no_grad;
  for (const Method* method : methods()) {
    AdapterConfig config = make_config(method->name());
    config.rank = 2;
    config.alpha = 3;
    config.target_modules = {"proj_in"};
    const AdapterSet set = attach(model_, config, {});
    for (const auto& [name, value] : set.parameters()) value.copy_(f32(value.sizes(), 20) + (name.ends_with("vector") ? 1 : 0));
    const at::Tensor w = model_.linear->matrix().to(at::kDouble);
    const auto records = records_of(set, "unet");
    ASSERT_EQ(records.size(), 1);
    EXPECT_TRUE(close(adapted(records[0], w), set.modules[0].adapter->apply_to_weight(w), 1e-6)) << method->name();
    detach(set);
  }
}

}  // namespace
}  // namespace lowrank::adapters
