// What load_text_model accepts, tells and refuses.
#include "models/support.h"

namespace lowrank::models {

using ::testing::HasSubstr;

namespace {

const HeadOptions kBare{};
const HeadOptions kTwo{HeadKind::single_label, {"no", "yes"}};

std::string without(const std::string& prefix, const std::string& name) {
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

bool is_classifier(const std::string& name) { return name.find("classifier.") != std::string::npos; }

}  // namespace

TEST(LoadTextModel, BareCheckpointFitsAModelWithAHead) {
  Checkpoint checkpoint("bert_single");
  const auto original = load_text_model(checkpoint.write(), kTwo);
  checkpoint.rename([](const std::string& name) { return is_classifier(name) ? "" : without("bert.", name); });
  checkpoint.config["architectures"] = {"BertModel"};
  const auto model = load_text_model(checkpoint.write(), kTwo);
  EXPECT_EQ(model->new_modules(), std::vector<std::string>{"classifier"});
  const auto wanted = original->named_parameters();
  for (const auto& parameter : model->named_parameters()) EXPECT_TRUE(parameter.value().equal(wanted[parameter.key()])) << parameter.key();
}

TEST(LoadTextModel, PoolerThatTheFileLacksIsNew) {
  Checkpoint checkpoint("bert_single");
  checkpoint.rename([](const std::string& name) { return is_classifier(name) || name.starts_with("bert.pooler.") ? "" : name; });
  const auto model = load_text_model(checkpoint.write(), kTwo);
  EXPECT_EQ(model->new_modules(), (std::vector<std::string>{"bert.pooler", "classifier"}));
  EXPECT_EQ(model->head_modules(), (std::vector<std::string>{"classifier", "bert.pooler"}));
  EXPECT_FALSE(load_text_model(checkpoint.write(), kBare)->named_parameters().contains("pooler.dense.weight"));
}

TEST(LoadTextModel, DistilBertsHeadHasTwoNewModules) {
  Checkpoint checkpoint("distilbert_single");
  checkpoint.rename([](const std::string& name) { return is_classifier(name) ? "" : name; });
  EXPECT_EQ(load_text_model(checkpoint.write(), kTwo)->new_modules(), (std::vector<std::string>{"pre_classifier", "classifier"}));
}

TEST(LoadTextModel, EarlyLayerNormNamesAreRead) {
  Checkpoint checkpoint("bert_single");
  const HeadOptions head = stored_head(checkpoint.write());
  const auto original = load_text_model(checkpoint.write(), head);
  checkpoint.rename([](std::string name) {
    if (const auto at = name.find("LayerNorm.weight"); at != std::string::npos) return name.substr(0, at) + "LayerNorm.gamma";
    if (const auto at = name.find("LayerNorm.bias"); at != std::string::npos) return name.substr(0, at) + "LayerNorm.beta";
    return name;
  });
  const nn::Packed batch = nn::pack({{5, 6, 7}});
  EXPECT_TRUE(load_text_model(checkpoint.write(), head)->logits(batch).equal(original->logits(batch)));
}

TEST(LoadTextModel, OtherTasksHeadsAndBuffersAreTold) {
  Checkpoint checkpoint("bert_single");
  checkpoint.tensors["cls.predictions.bias"] = at::ones({64});
  checkpoint.tensors["bert.embeddings.position_ids"] = at::arange(2, 18);
  checkpoint.tensors["bert.embeddings.token_type_ids"] = at::zeros({1, 16}, at::kLong);  // says nothing: not told
  const LogCapture log;
  load_text_model(checkpoint.write(), stored_head(checkpoint.write()));
  EXPECT_THAT(log.notices, HasSubstr("left unread: cls.predictions.bias, bert.embeddings.position_ids"));
}

TEST(LoadTextModel, StoredHeadForOtherLabelsIsReplacedWithAWarning) {
  const LogCapture log;
  const auto model = load_text_model(golden("bert_single"), {HeadKind::single_label, {"red", "green", "blue", "mauve"}});
  EXPECT_EQ(model->new_modules(), std::vector<std::string>{"classifier"});
  EXPECT_THAT(log.warnings, HasSubstr("the stored 'classifier' is for other labels (red, green, blue, rather green)"));
}

TEST(LoadTextModel, AllWeightsTakeTheDtypeButNewOnesAreFloat32) {
  const auto model = load_text_model(golden("bert_single"), kTwo, at::kBFloat16);
  for (const auto& parameter : model->named_parameters()) {
    const bool fresh = parameter.key().starts_with("classifier.");
    EXPECT_EQ(parameter.value().scalar_type(), fresh ? at::kFloat : at::kBFloat16) << parameter.key();
    EXPECT_EQ(parameter.value().requires_grad(), fresh) << parameter.key();
  }
  const nn::Packed batch = nn::pack({{5, 6, 7}, {8, 9}});
  const at::Tensor logits = model->logits(batch);
  EXPECT_EQ(logits.scalar_type(), at::kFloat);
  EXPECT_LT(difference(logits, load_text_model(golden("bert_single"), kTwo)->logits(batch)), 0.05);
}

TEST(LoadTextModel, MissingTensors_AreAllNamed) {
  Checkpoint checkpoint("bert_single");
  checkpoint.tensors.erase("bert.encoder.layer.1.output.dense.bias");
  checkpoint.tensors.erase("bert.embeddings.LayerNorm.weight");
  EXPECT_LOWRANK_ERROR(load_text_model(checkpoint.write(), kTwo), ErrorKind::file_format,
                       "tensor 'bert.encoder.layer.1.output.dense.bias' is missing");
  EXPECT_LOWRANK_ERROR(load_text_model(checkpoint.write(), kTwo), ErrorKind::file_format,
                       "tensor 'bert.embeddings.LayerNorm.weight' is missing");
}

TEST(LoadTextModel, HalfAHead_IsAnError) {
  Checkpoint checkpoint("roberta_single");
  checkpoint.tensors.erase("classifier.dense.bias");
  EXPECT_LOWRANK_ERROR(load_text_model(checkpoint.write(), stored_head(checkpoint.write())), ErrorKind::file_format,
                       "tensor 'classifier.dense.bias' is missing");
}

TEST(LoadTextModel, WrongShape_NamesBoth) {
  Checkpoint checkpoint("distilbert_single");
  checkpoint.tensors["distilbert.transformer.layer.0.ffn.lin1.weight"] = at::ones({32, 40});
  EXPECT_LOWRANK_ERROR(load_text_model(checkpoint.write(), kTwo), ErrorKind::file_format,
                       "'distilbert.transformer.layer.0.ffn.lin1.weight': expected shape [40, 32], got [32, 40]");
}

TEST(LoadTextModel, TensorOfNobody_IsAnError) {
  Checkpoint checkpoint("bert_single");
  checkpoint.config["num_hidden_layers"] = 1;
  EXPECT_LOWRANK_ERROR(load_text_model(checkpoint.write(), kTwo), ErrorKind::file_format,
                       "tensor 'bert.encoder.layer.1.attention.output.LayerNorm.bias' belongs to nothing in "
                       "BertForSequenceClassification");
}

TEST(LoadTextModel, SameParameterTwice_IsAnError) {
  Checkpoint checkpoint("bert_single");
  checkpoint.tensors["pooler.dense.bias"] = checkpoint.tensors["bert.pooler.dense.bias"];
  EXPECT_LOWRANK_ERROR(load_text_model(checkpoint.write(), kTwo), ErrorKind::file_format,
                       "'bert.pooler.dense.bias' and 'pooler.dense.bias' are the same parameter");
}

TEST(LoadTextModel, IntegerWeights_AreRefused) {
  Checkpoint checkpoint("bert_single");
  at::Tensor& weight = checkpoint.tensors["bert.pooler.dense.weight"];
  weight = weight.to(at::kChar);
  EXPECT_LOWRANK_ERROR(load_text_model(checkpoint.write(), kTwo), ErrorKind::file_format, "expected F64, F32, F16 or BF16, got I8");
}

TEST(LoadTextModel, NaN_IsNamed) {
  Checkpoint checkpoint("bert_single");
  checkpoint.tensors["bert.pooler.dense.weight"][3][4] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_LOWRANK_ERROR(load_text_model(checkpoint.write(), kTwo), ErrorKind::file_format,
                       "'bert.pooler.dense.weight' holds NaN or infinity");
}

TEST(LoadTextModel, UnknownFamily_ListsTheSupported) {
  Checkpoint checkpoint("bert_single");
  checkpoint.config["model_type"] = "albert";
  EXPECT_LOWRANK_ERROR(load_text_model(checkpoint.write(), kBare), ErrorKind::unsupported,
                       "expected model_type one of bert, distilbert, roberta, vit, got 'albert', did you mean 'bert'");
  checkpoint.config.erase("model_type");
  EXPECT_LOWRANK_ERROR(load_text_model(checkpoint.write(), kBare), ErrorKind::file_format, "expected 'model_type', got none");
}

TEST(LoadTextModel, PickleOnlyFolder_IsRefusedWithTheReason) {
  const test::TempDir folder;
  fs::copy(golden("bert_single") / "config.json", folder.path());
  write_file_atomic(folder / "pytorch_model.bin", "PK\x03\x04");
  EXPECT_LOWRANK_ERROR(load_text_model(folder.path(), kBare), ErrorKind::io, "pickles run code when read");
}

TEST(LoadTextModel, NoFolder_IsAnIoError) {
  EXPECT_LOWRANK_ERROR(load_text_model("/no/such/folder", kBare), ErrorKind::io, "expected a model folder");
}

TEST(LoadTextModel, SettingsThatAreNotHonoured_AreAllNamed) {
  Checkpoint checkpoint("bert_single");
  checkpoint.config["position_embedding_type"] = "relative_key";
  checkpoint.config["is_decoder"] = true;
  checkpoint.config["pruned_heads"] = {{"0", {1, 2}}};
  checkpoint.config["hidden_act"] = "xielu";
  const fs::path folder = checkpoint.write();
  EXPECT_LOWRANK_ERROR(load_text_model(folder, kBare), ErrorKind::unsupported,
                       R"(key 'position_embedding_type': expected "absolute", got "relative_key")");
  EXPECT_LOWRANK_ERROR(load_text_model(folder, kBare), ErrorKind::unsupported, "key 'is_decoder': expected false, got true");
  EXPECT_LOWRANK_ERROR(load_text_model(folder, kBare), ErrorKind::unsupported, "key 'pruned_heads'");
  EXPECT_LOWRANK_ERROR(load_text_model(folder, kBare), ErrorKind::unsupported, "key 'hidden_act': expected one of gelu");
}

TEST(LoadTextModel, MissingAndMistypedSettings_AreAllNamed) {
  Checkpoint checkpoint("bert_single");
  checkpoint.config.erase("hidden_size");
  checkpoint.config["num_attention_heads"] = "four";
  EXPECT_LOWRANK_ERROR(load_text_model(checkpoint.write(), kBare), ErrorKind::file_format,
                       "key 'hidden_size': expected a positive integer, got nothing");
  EXPECT_LOWRANK_ERROR(load_text_model(checkpoint.write(), kBare), ErrorKind::file_format,
                       R"(key 'num_attention_heads': expected a positive integer, got "four")");
}

TEST(LoadTextModel, HeadsThatDoNotDivideTheWidth_AreAnError) {
  Checkpoint checkpoint("distilbert_single");
  checkpoint.config["n_heads"] = 5;
  EXPECT_LOWRANK_ERROR(load_text_model(checkpoint.write(), kBare), ErrorKind::file_format, "a multiple of 'n_heads', got 32 and 5");
}

TEST(LoadTextModel, UnknownSettings_AreTold) {
  Checkpoint checkpoint("bert_single");
  checkpoint.config["moon_phase"] = "full";
  const LogCapture log;
  load_text_model(checkpoint.write(), kBare);
  EXPECT_THAT(log.warnings, HasSubstr("these keys are not known and change nothing: moon_phase"));
}

TEST(Encode, InputsOutOfRange_AreNamed) {
  const auto model = load_text_model(golden("roberta_single"), kBare);
  EXPECT_EQ(model->max_length(), 14);  // 16 positions, of which the padding id takes 0 and 1
  EXPECT_LOWRANK_ERROR(model->encode(nn::pack({{5}, std::vector<int64_t>(15, 5)})), ErrorKind::invalid_argument,
                       "sequence 1: expected at most 14 tokens, got 15");
  EXPECT_LOWRANK_ERROR(model->encode(nn::pack({{5, 64}})), ErrorKind::invalid_argument, "expected token ids from 0 to 63, got 64");
  const auto bert = load_text_model(golden("bert_single"), kBare);
  EXPECT_LOWRANK_ERROR(bert->encode(nn::pack({{5, 6}}, {{0, 2}})), ErrorKind::invalid_argument, "expected type ids from 0 to 1, got 2");
}

TEST(Encode, TypeIdsMeanNothingToModelsWithoutSegments) {
  for (const char* name : {"roberta_single", "distilbert_single"}) {
    const auto model = load_text_model(golden(name), kBare);
    EXPECT_TRUE(model->encode(nn::pack({{5, 6}}, {{0, 1}})).equal(model->encode(nn::pack({{5, 6}})))) << name;
  }
}

}  // namespace lowrank::models
