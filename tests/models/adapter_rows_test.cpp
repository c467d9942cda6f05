// What adapters on a model's hosts are given: rows, and the dropout keys that belong to those rows.
#include <map>

#include "models/support.h"

#include "lowrank/nn/host.h"

namespace lowrank::models {

namespace {

/// Notes the rows and keys of each call, and leaves the output as it is.
class Recorder : public nn::Adapter {
 public:
  at::Tensor apply_to_weight(const at::Tensor& w) const override { return w; }
  bool has_dropout() const override { return true; }
  at::Tensor forward(const at::Tensor& x, const at::Tensor& y0, const nn::Host&, const nn::DropoutSource& dropout) override {
    rows = x.size(0);
    keys = dropout.keys == nullptr ? nn::RowKeys{} : *dropout.keys;
    return y0;
  }

  int64_t rows = 0;
  nn::RowKeys keys;
};

class AdapterRows : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    for (const auto& [name, host] : nn::hosts_of(*model_)) {
      recorders_[name] = std::make_shared<Recorder>();
      host->attach("recorder", recorders_[name]);
    }
    batch_.keys = {10, 11, 12, 20, 21};
  }

  std::unique_ptr<TextModel> model_ = load_text_model(golden(GetParam()), stored_head(golden(GetParam())));
  std::map<std::string, std::shared_ptr<Recorder>> recorders_;
  nn::Packed batch_ = nn::pack({{5, 6, 7}, {8, 9}});
};

bool of_keys_or_values(const std::string& name) {
  return name.ends_with("self.key") || name.ends_with("self.value") || name.ends_with("k_lin") || name.ends_with("v_lin");
}

}  // namespace

TEST_P(AdapterRows, LastLayerAndHeadGetFirstRowsAlone) {
  const at::NoGradGuard no_grad;
  model_->logits(batch_);
  const nn::RowKeys first{10, 20};
  for (const auto& [name, recorder] : recorders_) {
    const bool last = name.find("layer.1.") != std::string::npos,
               head = name.find("classifier") != std::string::npos || name.find("pooler") != std::string::npos;
    const bool all = !head && (!last || of_keys_or_values(name));
    EXPECT_EQ(recorder->rows, all ? 5 : 2) << name;
    EXPECT_EQ(recorder->keys, all ? batch_.keys : first) << name;
  }
}

TEST_P(AdapterRows, AllRowsWhenAllAreAskedFor) {
  const at::NoGradGuard no_grad;
  model_->encode(batch_);
  size_t called = 0;
  for (const auto& [name, recorder] : recorders_) {
    if (recorder->rows == 0) continue;
    EXPECT_EQ(recorder->rows, 5) << name;
    EXPECT_EQ(recorder->keys, batch_.keys) << name;
    ++called;
  }
  EXPECT_GE(called, 14U);  // two layers of six linears, and embeddings
}

TEST_P(AdapterRows, SavingWithAnUnmergedAdapter_IsRefused) {
  const test::TempDir out;
  EXPECT_LOWRANK_ERROR(save_model(out / "model", *model_, golden(GetParam())), ErrorKind::invalid_argument,
                       "has an adapter that is not merged");
  EXPECT_FALSE(fs::exists(out / "model"));
}

INSTANTIATE_TEST_SUITE_P(Families, AdapterRows, ::testing::Values("bert_single", "distilbert_single", "roberta_single"),
                         [](const auto& instance) { return std::string(instance.param); });

}  // namespace lowrank::models
