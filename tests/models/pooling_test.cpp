// sentence-transformers' files beside a model.
#include "models/support.h"

namespace lowrank::models {

namespace {

constexpr const char* kModules = R"([{"idx":0,"path":"","type":"sentence_transformers.models.Transformer"},
  {"idx":1,"path":"1_Pooling","type":"sentence_transformers.models.Pooling"}])";

class StoredPooling : public ::testing::Test {
 protected:
  void write(const char* modules, const char* pooling) {
    fs::create_directory(folder_ / "1_Pooling");
    write_file_atomic(folder_ / "modules.json", modules);
    write_file_atomic(folder_ / "1_Pooling/config.json", pooling);
  }

  test::TempDir folder_;
};

}  // namespace

TEST_F(StoredPooling, WithoutModulesIsMeanAndNormalised) {
  EXPECT_EQ(stored_pooling(folder_.path()), std::pair(Pooling::mean, true));
  EXPECT_EQ(stored_max_length(folder_.path()), std::nullopt);
}

TEST_F(StoredPooling, ReadsFlagsOfFormerVersions) {
  write(kModules, R"({"word_embedding_dimension":32,"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":false})");
  EXPECT_EQ(stored_pooling(folder_.path()), std::pair(Pooling::cls, false));
}

TEST_F(StoredPooling, ReadsThePresentSpellingAndNormalisation) {
  write(R"([{"path":"1_Pooling","type":"sentence_transformers.sentence_transformer.modules.pooling.Pooling"},
    {"path":"2_Normalize","type":"sentence_transformers.base.modules.normalize.Normalize"}])",
        R"({"embedding_dimension":32,"pooling_mode":"mean","include_prompt":true})");
  EXPECT_EQ(stored_pooling(folder_.path()), std::pair(Pooling::mean, true));
}

TEST_F(StoredPooling, OtherModes_AreRefused) {
  write(kModules, R"({"pooling_mode":"max"})");
  EXPECT_LOWRANK_ERROR(stored_pooling(folder_.path()), ErrorKind::unsupported, "expected pooling mean or cls, got 'max'");
  write(kModules, R"({"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":true})");
  EXPECT_LOWRANK_ERROR(stored_pooling(folder_.path()), ErrorKind::unsupported, "expected one pooling mode, got 2");
  write(kModules, R"({"pooling_mode":"mean","temperature":2})");
  EXPECT_LOWRANK_ERROR(stored_pooling(folder_.path()), ErrorKind::unsupported, "unknown key 'temperature'");
}

TEST_F(StoredPooling, OtherModules_AreRefused) {
  write(R"([{"path":"2_Dense","type":"sentence_transformers.models.Dense"}])", "{}");
  EXPECT_LOWRANK_ERROR(stored_pooling(folder_.path()), ErrorKind::unsupported, "got 'sentence_transformers.models.Dense'");
}

TEST_F(StoredPooling, LowerCasingOutsideTheTokenizer_IsRefused) {
  write(kModules, R"({"pooling_mode":"mean"})");
  write_file_atomic(folder_ / "sentence_bert_config.json", R"({"max_seq_length":128,"do_lower_case":true})");
  EXPECT_LOWRANK_ERROR(stored_pooling(folder_.path()), ErrorKind::unsupported, "key 'do_lower_case'");
  EXPECT_EQ(stored_max_length(folder_.path()), 128);
}

TEST(Embed, MeanIsDifferentiable) {
  const auto model = load_text_model(golden("bert_single"), HeadOptions{});
  auto parameters = model->named_parameters();
  at::Tensor& bias = parameters["encoder.layer.1.output.LayerNorm.bias"];
  bias.set_requires_grad(true);
  embed(*model, nn::pack({{5, 6, 7}, {8, 9}}), Pooling::mean, false).sum().backward();
  EXPECT_LT(difference(bias.grad(), at::full({32}, 2.0)), 1e-6);  // each of two means passes the bias on unchanged
}

}  // namespace lowrank::models
