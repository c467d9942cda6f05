// ViT against transformers, what it refuses, and the image processor in front of it.
#include <map>

#include "models/support.h"

#include "lowrank/models/image_model.h"
#include "lowrank/models/text_model.h"
#include "lowrank/nn/host.h"

namespace lowrank::models {

namespace {

const HeadOptions kBare{};

/// The largest difference of a gradient, relative to its tensor; every expected one must be there.
double worst_gradient(Model& model, const tensor::TensorMap& expected) {
  double worst = 0;
  int64_t compared = 0;
  for (const auto& parameter : model.named_parameters()) {
    if (!expected.contains("grad." + parameter.key())) continue;
    std::string scale = parameter.key();
    if (scale.ends_with("k_proj.bias")) scale = scale.substr(0, scale.size() - 4) + "weight";  // exactly 0 but for rounding
    const double size = expected.at("grad." + scale).abs().max().item<double>();
    const double error = difference(parameter.value().grad(), expected.at("grad." + parameter.key()), size);
    EXPECT_LT(error, 1e-5) << parameter.key();
    worst = std::max(worst, error);
    ++compared;
  }
  EXPECT_EQ(compared, std::ranges::count_if(expected, [](const auto& entry) { return entry.first.starts_with("grad."); }));
  return worst;
}

void all_train(Model& model) {
  for (auto& parameter : model.parameters()) parameter.set_requires_grad(true);
}

class Recorder : public nn::Adapter {
 public:
  at::Tensor apply_to_weight(const at::Tensor& w) const override { return w; }
  bool has_dropout() const override { return true; }
  at::Tensor forward(const at::Tensor& x, const at::Tensor& y0, const nn::Host&, const nn::DropoutSource& dropout) override {
    rows = x.numel() / x.size(-1);
    keys = dropout.keys == nullptr ? nn::RowKeys{} : *dropout.keys;
    return y0;
  }

  int64_t rows = 0;
  nn::RowKeys keys;
};

std::map<std::string, std::shared_ptr<Recorder>> record_all(Model& model) {
  std::map<std::string, std::shared_ptr<Recorder>> recorders;
  for (const auto& [name, host] : nn::hosts_of(model)) {
    recorders[name] = std::make_shared<Recorder>();
    host->attach("recorder", recorders[name]);
  }
  return recorders;
}

}  // namespace

TEST(Vit, ClassifierEqualsTransformersInLogitsAndEveryGradient) {
  const auto expected = test::load_golden(golden("vit_single") / "expected.safetensors");
  const auto model = on_device(load_image_model(golden("vit_single"), stored_head(golden("vit_single"))));
  const nn::Pictures pictures{expected.at("pixel_values"), {}};
  EXPECT_EQ(model->architecture(), "ViTForImageClassification");
  EXPECT_EQ(model->head().labels, (std::vector<std::string>{"red", "green", "blue"}));
  EXPECT_TRUE(model->new_modules().empty());
  EXPECT_LT(difference(model->encode(pictures), expected.at("hidden")), 1e-5);
  EXPECT_LT(difference(model->features(pictures), expected.at("hidden").select(1, 0)), 1e-5);
  all_train(*model);
  const at::Tensor logits = model->logits(pictures), loss = loss_of(logits, expected.at("labels"), model->head().kind);
  EXPECT_LT(difference(logits, expected.at("logits")), 1e-5);
  EXPECT_LT(difference(loss, expected.at("loss")), 1e-5);
  loss.backward();
  RecordProperty("worst_logit", fmt::format("{:.2e}", difference(logits, expected.at("logits"))));
  RecordProperty("worst_gradient", fmt::format("{:.2e}", worst_gradient(*model, expected)));
}

TEST(Vit, BareModelOfOblongPicturesWithoutProjectionBiasesEqualsTransformers) {
  const auto expected = test::load_golden(golden("vit_bare") / "expected.safetensors");
  const auto model = on_device(load_image_model(golden("vit_bare"), stored_head(golden("vit_bare"))));
  EXPECT_EQ(model->architecture(), "ViTModel");
  EXPECT_FALSE(model->named_parameters().contains("layers.0.attention.q_proj.bias"));
  all_train(*model);
  const at::Tensor hidden = model->encode({expected.at("pixel_values"), {}});
  EXPECT_LT(difference(hidden, expected.at("hidden")), 1e-5);
  (hidden * expected.at("weights")).sum().backward();
  RecordProperty("worst_gradient", fmt::format("{:.2e}", worst_gradient(*model, expected)));
}

TEST(Vit, RunsInBfloat16WithLogitsInFloat32) {
  const auto expected = tensor::load_tensors(golden("vit_single") / "expected.safetensors");
  const auto model = load_image_model(golden("vit_single"), stored_head(golden("vit_single")), at::kBFloat16);
  const nn::Pictures pictures{expected.at("pixel_values"), {}};
  EXPECT_EQ(model->features(pictures).scalar_type(), at::kBFloat16);
  EXPECT_EQ(model->logits(pictures).scalar_type(), at::kFloat);
  EXPECT_LT(difference(model->logits(pictures), expected.at("logits")), 0.05);
}

TEST(Vit, PoolerIsKeptWhereThereIsOne) {
  const auto with = load_image_model(golden("vit_bare"), kBare);
  EXPECT_TRUE(with->named_parameters().contains("pooler.dense.weight"));
  EXPECT_EQ(with->head_modules(), std::vector<std::string>{"pooler"});
  Checkpoint checkpoint("vit_bare");
  checkpoint.rename([](const std::string& name) { return name.starts_with("pooler.") ? "" : name; });
  const auto without = load_image_model(checkpoint.write(), kBare);
  EXPECT_FALSE(without->named_parameters().contains("pooler.dense.weight"));
  const nn::Pictures pictures{at::ones({1, 3, 18, 12}), {}};
  EXPECT_TRUE(without->encode(pictures).equal(with->encode(pictures)));
}

TEST(Vit, NewHeadOnABareCheckpoint) {
  const LogCapture log;
  const auto model = load_image_model(golden("vit_bare"), {HeadKind::multi_label, {"a", "b"}});
  EXPECT_EQ(model->new_modules(), std::vector<std::string>{"classifier"});
  EXPECT_EQ(model->logits(nn::Pictures{at::ones({2, 3, 18, 12}), {}}).sizes(), (std::vector<int64_t>{2, 2}));
  EXPECT_THAT(log.notices, ::testing::HasSubstr("left unread: pooler.dense.bias"));
}

TEST(Vit, FilesMayHoldPresentOrFormerNamesAndAreSavedWithTheFormer) {
  Checkpoint checkpoint("vit_single");
  const HeadOptions head = stored_head(checkpoint.write());
  const auto former = load_image_model(golden("vit_single"), head);
  tensor::TensorMap present;
  for (const auto& parameter : former->named_parameters()) present[parameter.key()] = parameter.value();
  EXPECT_TRUE(present.contains("vit.layers.1.mlp.fc2.weight"));
  const auto names = checkpoint.tensors;
  checkpoint.tensors = present;
  const auto model = load_image_model(checkpoint.write(), head);
  const test::TempDir out;
  save_model(out / "model", *model, golden("vit_single"));
  const auto saved = tensor::load_tensors(out / "model/model.safetensors");
  ASSERT_EQ(saved.size(), names.size());
  for (const auto& [name, value] : names) {
    ASSERT_TRUE(saved.contains(name)) << name;
    EXPECT_TRUE(saved.at(name).equal(value)) << name;
  }
  const auto unordered = [](const fs::path& path) { return nlohmann::json::parse(read_file(path)); };
  EXPECT_EQ(unordered(out / "model/config.json"), unordered(golden("vit_single") / "config.json"));
  EXPECT_TRUE(fs::exists(out / "model/preprocessor_config.json"));
}

TEST(Vit, LastLayerAndHeadComputeTheClassTokenAloneWithItsKeys) {
  const auto model = load_image_model(golden("vit_single"), stored_head(golden("vit_single")));
  const auto recorders = record_all(*model);
  const nn::Pictures both{at::ones({2, 3, 16, 16}), {10, 20}}, second{at::ones({1, 3, 16, 16}), {20}};
  std::map<std::string, nn::RowKeys> keys;
  model->logits(both);
  for (const auto& [name, recorder] : recorders) {
    const bool first_only =
        name == "classifier" || (name.find("layers.1.") != std::string::npos && !name.ends_with("k_proj") && !name.ends_with("v_proj"));
    const int64_t rows = name.ends_with("projection") ? 3 * 16 : first_only ? 1 : 17;
    EXPECT_EQ(recorder->rows, 2 * rows) << name;
    EXPECT_EQ(recorder->keys.size(), static_cast<size_t>(2 * rows)) << name;
    keys[name] = nn::RowKeys(recorder->keys.begin() + rows, recorder->keys.end());
  }
  model->logits(second);
  for (const auto& [name, recorder] : recorders) EXPECT_EQ(recorder->keys, keys[name]) << name << ": depends on the rest of the batch";
}

TEST(Vit, OtherPictures_AreRefused) {
  const auto model = load_image_model(golden("vit_bare"), kBare);
  EXPECT_LOWRANK_ERROR(model->encode({at::ones({1, 3, 12, 18}), {}}), ErrorKind::shape,
                       "expected pictures [B, 3, 18, 12], got [1, 3, 12, 18]");
  EXPECT_LOWRANK_ERROR(model->encode({at::ones({1, 3, 24, 12}), {}}), ErrorKind::shape, "position embeddings are not interpolated");
  EXPECT_LOWRANK_ERROR(model->encode({at::ones({2, 3, 18, 12}), {1}}), ErrorKind::shape, "one dropout key a picture, got 1 for 2");
}

TEST(Vit, TextsAndPicturesAreNotMixedUp) {
  EXPECT_LOWRANK_ERROR(load_image_model(golden("bert_single"), kBare), ErrorKind::unsupported, "expected a model that reads pictures");
  EXPECT_LOWRANK_ERROR(load_text_model(golden("vit_bare"), kBare), ErrorKind::unsupported,
                       "expected a model that reads texts, got ViTModel");
  EXPECT_LOWRANK_ERROR(load_image_model(golden("vit_bare"), kBare)->features(nn::pack({{5}})), ErrorKind::invalid_argument,
                       "expected a batch of pictures");
  EXPECT_LOWRANK_ERROR(load_text_model(golden("bert_single"), kBare)->features(nn::Pictures{}), ErrorKind::invalid_argument,
                       "expected a batch of texts");
}

TEST(Vit, SettingsThatCannotBe_AreNamed) {
  Checkpoint checkpoint("vit_bare");
  checkpoint.config["num_channels"] = 1;
  checkpoint.config["pooler_act"] = "relu";
  EXPECT_LOWRANK_ERROR(load_model(checkpoint.write(), kBare), ErrorKind::unsupported, "key 'num_channels': expected 3, got 1");
  EXPECT_LOWRANK_ERROR(load_model(checkpoint.write(), kBare), ErrorKind::unsupported, "key 'pooler_act'");
  checkpoint.config["image_size"] = {18, 12, 3};
  checkpoint.config["qkv_bias"] = "no";
  EXPECT_LOWRANK_ERROR(load_model(checkpoint.write(), kBare), ErrorKind::file_format,
                       "key 'image_size': expected a height and a width of at least 1, got [18,12,3]");
  EXPECT_LOWRANK_ERROR(load_model(checkpoint.write(), kBare), ErrorKind::file_format,
                       R"(key 'qkv_bias': expected true or false, got "no")");
}

TEST(Vit, PositionsOfAnotherImageSize_AreAnError) {
  Checkpoint checkpoint("vit_single");
  checkpoint.config["image_size"] = 32;
  EXPECT_LOWRANK_ERROR(load_model(checkpoint.write(), kBare), ErrorKind::file_format,
                       "'vit.embeddings.position_embeddings': expected shape [1, 65, 32], got [1, 17, 32]");
}

TEST(ImageProcessor, NormalisesAsTransformersDoes) {
  for (const char* name : {"vit_single", "vit_bare"}) {
    const auto expected = tensor::load_tensors(golden(name) / "expected.safetensors");
    const at::Tensor values = normalise_pixels(expected.at("pixels"), stored_image_processor(golden(name)));
    EXPECT_TRUE(values.is_contiguous());
    EXPECT_LT(difference(values, expected.at("pixel_values")), 1e-6) << name;
  }
}

TEST(ImageProcessor, IsReadStrictlyAndWrittenBack) {
  const test::TempDir folder;
  const Json stored = read_json(golden("vit_bare") / "preprocessor_config.json");
  EXPECT_EQ(format_json(to_json(stored_image_processor(golden("vit_bare")))), format_json(stored));
  const auto read = [&](const char* key, const Json& value) {
    Json changed = stored;
    changed[key] = value;
    write_file_atomic(folder / "preprocessor_config.json", format_json(changed));
    return stored_image_processor(folder.path());
  };
  EXPECT_EQ(read("size", 32).width, 32);
  EXPECT_EQ(read("do_rescale", false).rescale, 1.0);
  EXPECT_EQ(read("do_normalize", false).deviation, (std::array<double, 3>{1, 1, 1}));
  EXPECT_LOWRANK_ERROR(read("size", {{"shortest_edge", 224}}), ErrorKind::file_format, "key 'size': expected a height and a width");
  EXPECT_LOWRANK_ERROR(read("do_center_crop", true), ErrorKind::unsupported, "key 'do_center_crop': expected false, got true");
  EXPECT_LOWRANK_ERROR(read("image_std", {0.5, 0.5}), ErrorKind::file_format, "key 'image_std': expected three numbers, got [0.5,0.5]");
  EXPECT_LOWRANK_ERROR(read("image_std", {0.5, 0.5, 0}), ErrorKind::file_format, "expected numbers over 0, got 0");
  EXPECT_LOWRANK_ERROR(read("resample", 9), ErrorKind::unsupported, "key 'resample': expected 0 to 5, got 9");
  const LogCapture log;
  read("moon_phase", "full");
  EXPECT_THAT(log.warnings, ::testing::HasSubstr("change nothing: moon_phase"));
  EXPECT_LOWRANK_ERROR(stored_image_processor(folder / "nowhere"), ErrorKind::io, "preprocessor_config.json");
}

TEST(ImageProcessor, OtherTensors_AreRefused) {
  EXPECT_LOWRANK_ERROR(normalise_pixels(at::ones({1, 4, 4, 3}), {}), ErrorKind::invalid_argument, "expected uint8 pixels, got Float");
  EXPECT_LOWRANK_ERROR(normalise_pixels(at::ones({1, 3, 4, 4}, at::kByte), {}), ErrorKind::shape,
                       "expected [B, height, width, 3], got [1, 3, 4, 4]");
}

TEST(FreshModel, BeginsAsTransformersDoesAndLoadsAgain) {
  const Json config = read_json(golden("vit_single") / "config.json");
  const HeadOptions head{HeadKind::single_label, {"x", "y"}, /*seed=*/7};
  const auto model = make_fresh(config, head), again = make_fresh(config, head);
  const auto other = make_fresh(config, {head.kind, head.labels, /*seed=*/8});
  const auto parameters = model->named_parameters(), same = again->named_parameters(), different = other->named_parameters();
  EXPECT_EQ(parameters["vit.layernorm.weight"].min().item<double>(), 1.0);
  EXPECT_EQ(parameters["vit.layers.0.mlp.fc1.bias"].abs().max().item<double>(), 0.0);
  for (const char* name :
       {"vit.layers.0.mlp.fc1.weight", "vit.embeddings.position_embeddings", "vit.embeddings.patch_embeddings.projection.weight"}) {
    EXPECT_NEAR(parameters[name].std().item<double>(), 0.02, 0.003) << name;  // at least 544 draws: 15 % is 5 deviations
    EXPECT_TRUE(parameters[name].equal(same[name]) && !parameters[name].equal(different[name])) << name;
    EXPECT_FALSE(parameters[name].requires_grad());
  }
  EXPECT_TRUE(parameters["classifier.weight"].requires_grad());
  const test::TempDir out;
  save_model(out / "model", *model, golden("vit_single"));
  const auto loaded = load_image_model(out / "model", stored_head(out / "model"));
  const nn::Pictures pictures{at::ones({1, 3, 16, 16}), {}};
  EXPECT_TRUE(loaded->logits(pictures).equal(model->logits(pictures)));
}

TEST(FreshModel, IsForEveryFamily) {
  for (const char* name : {"bert_single", "distilbert_multi", "roberta_regression"}) {
    const auto model = make_fresh(read_json(golden(name) / "config.json"), stored_head(golden(name)));
    const at::Tensor logits = model->logits(nn::pack({{5, 6, 7}, {8, 9}}));
    EXPECT_GT((logits[0] - logits[1]).abs().max().item<double>(), 0.0) << name;
  }
}

}  // namespace lowrank::models
