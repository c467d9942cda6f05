// Hidden states, logits, loss and every gradient against transformers, on tiny random models of every family and head.
#include "models/support.h"

namespace lowrank::models {

class GoldenModel : public ::testing::TestWithParam<const char*> {
 protected:
  fs::path folder_ = golden(GetParam());
  tensor::TensorMap expected_ = tensor::load_tensors(folder_ / "expected.safetensors");
  nn::Packed batch_ = batch_of(expected_);
  std::unique_ptr<TextModel> model_ = on_device(load_text_model(folder_, stored_head(folder_)));
};

TEST_P(GoldenModel, IsTheCheckpointsOwnClassWithItsStoredHead) {
  const Json config = read_json(folder_ / "config.json");
  EXPECT_EQ(model_->architecture(), config["architectures"][0].get<std::string>());
  EXPECT_TRUE(model_->new_modules().empty());
  for (const auto& parameter : model_->named_parameters()) {
    EXPECT_FALSE(parameter.value().requires_grad()) << parameter.key();
    EXPECT_TRUE(expected_.contains("grad." + parameter.key())) << parameter.key();
  }
}

TEST_P(GoldenModel, HiddenStatesEqualTransformers) {
  const at::NoGradGuard no_grad;
  const at::Tensor all = model_->encode(batch_), first = model_->encode(batch_, true);
  const double worst = difference(all, expected_.at("hidden"));
  RecordProperty("worst", fmt::format("{:.2e}", worst));
  EXPECT_LT(worst, 1e-5);
  EXPECT_LT(difference(first, all.index_select(0, batch_.first_rows(all.device()))), 1e-6);
}

TEST_P(GoldenModel, LogitsAndEveryGradientEqualTransformers) {
  for (auto& parameter : model_->parameters()) parameter.set_requires_grad(true);
  const at::Tensor logits = model_->logits(batch_);
  const at::Tensor loss = loss_of(logits, expected_.at("labels"), model_->head().kind);
  loss.backward();
  const double worst_logit = difference(logits, expected_.at("logits"));
  EXPECT_LT(worst_logit, 1e-5);
  EXPECT_LT(difference(loss, expected_.at("loss")), 1e-5);

  double worst = 0;
  size_t compared = 0;
  for (const auto& parameter : model_->named_parameters()) {
    ASSERT_TRUE(parameter.value().grad().defined()) << parameter.key();
    const double scale = expected_.at("grad." + scale_of(parameter.key())).abs().max().item<double>();
    const double error = difference(parameter.value().grad(), expected_.at("grad." + parameter.key()), scale);
    EXPECT_LT(error, 1e-5) << parameter.key();
    worst = std::max(worst, error);
    ++compared;
  }
  EXPECT_EQ(compared, std::ranges::count_if(expected_, [](const auto& entry) { return entry.first.starts_with("grad."); }));
  RecordProperty("worst_logit", fmt::format("{:.2e}", worst_logit));
  RecordProperty("worst_gradient", fmt::format("{:.2e}", worst));
}

TEST_P(GoldenModel, PackedBatchEqualsEachSequenceAlone) {
  const at::NoGradGuard no_grad;
  const at::Tensor together = model_->logits(batch_);
  for (int64_t b = 0; b < batch_.sequences(); ++b) {
    const auto rows = [&](const at::Tensor& all) {
      const at::Tensor part = all.slice(0, batch_.offsets[b], batch_.offsets[b + 1]).cpu();
      return std::vector<int64_t>(part.const_data_ptr<int64_t>(), part.const_data_ptr<int64_t>() + part.numel());
    };
    const nn::Packed alone = on_device(nn::pack({rows(batch_.ids)}, {rows(batch_.type_ids)}));
    EXPECT_LT(difference(model_->logits(alone), together.slice(0, b, b + 1)), 1e-5) << "sequence " << b;
  }
}

TEST_P(GoldenModel, PaddingIdInsideATextCountsAsTransformersCountsIt) {
  const at::NoGradGuard no_grad;
  const at::Tensor ids = expected_.at("ids_with_pad");
  const int64_t* first = ids.const_data_ptr<int64_t>();
  const nn::Packed batch = on_device(nn::pack({{5, 6}, std::vector<int64_t>(first, first + ids.numel())}));
  const double bound = test::test_device().is_cuda() ? 2e-5 : 1e-5;  // one number near 0: 1.2e-5 on an H200
  EXPECT_LT(difference(model_->logits(batch).slice(0, 1), expected_.at("logits_with_pad")), bound);
}

TEST_P(GoldenModel, BareEncoderOfTheSameFileEmbedsAsTransformersStatesDo) {
  const auto bare = on_device(load_text_model(folder_, HeadOptions{}));
  EXPECT_LT(difference(embed(*bare, batch_, Pooling::mean, false), expected_.at("mean")), 1e-5);
  EXPECT_LT(difference(embed(*bare, batch_, Pooling::cls, true), expected_.at("cls_normalised")), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Families, GoldenModel,
                         ::testing::Values("bert_single", "bert_multi", "bert_regression", "distilbert_single", "distilbert_multi",
                                           "distilbert_regression", "roberta_single", "roberta_multi", "roberta_regression"),
                         [](const auto& instance) { return std::string(instance.param); });

}  // namespace lowrank::models
