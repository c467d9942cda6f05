// BERT (Devlin et al., arXiv 1810.04805): BertModel and BertForSequenceClassification of transformers.
#include "lowrank/models/bert_encoder.h"
#include "lowrank/models/family.h"
#include "lowrank/models/head.h"
#include "lowrank/models/text_model.h"

namespace lowrank::models {

namespace {

class BertModel : public TextModel {
 public:
  BertModel(const BertConfig& config, const HeadOptions& head, bool stored_pooler) : bert_(config) {
    head_ = head;
    if (head.kind == HeadKind::none) {
      encoder_.emplace(*this, config, stored_pooler);
      if (stored_pooler) head_modules_ = {"pooler"};
      return;
    }
    encoder_.emplace(*register_module("bert", std::make_shared<torch::nn::Module>("BertModel")), config,
                     /*with_pooler=*/true);
    classifier_ = register_module("classifier", std::make_shared<nn::Linear>(config.width, outputs_of(head)));
    head_modules_ = {"classifier"};
    may_be_new_ = {"bert.pooler", "classifier"};
  }

  at::Tensor encode(const nn::Packed& batch, bool first_token_only) override {
    check_batch(batch, max_length(), bert_.vocabulary, bert_.types);
    return encoder_->encode(batch, batch.positions, first_token_only);
  }

  at::Tensor classify(const at::Tensor& first_states, const nn::RowKeys* keys) override {
    require_head(*this);
    return head_logits(*classifier_, encoder_->pooler()->forward(first_states, keys), keys);
  }

  int64_t width() const override { return bert_.width; }
  int64_t max_length() const override { return bert_.positions; }
  int64_t vocabulary() const override { return bert_.vocabulary; }
  std::string architecture() const override { return head_.kind == HeadKind::none ? "BertModel" : "BertForSequenceClassification"; }

 private:
  BertConfig bert_;
  std::optional<BertEncoder> encoder_;
  std::shared_ptr<nn::Linear> classifier_;
};

std::unique_ptr<Model> make(const Json& config, const std::string& where, const HeadOptions& head, bool stored_pooler) {
  return std::make_unique<BertModel>(read_bert_config(config, where, /*default_pad_id=*/0), head, stored_pooler);
}

}  // namespace

const Family& bert_family() {
  static const Family family{"bert", "bert.", {"cls.", "qa_outputs.", "classifier."}, {}, make};
  return family;
}

}  // namespace lowrank::models
