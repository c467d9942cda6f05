// RoBERTa (Liu et al., arXiv 1907.11692): BERT's encoder with positions that begin after the padding id, and a
// two-layer head. RobertaModel and RobertaForSequenceClassification of transformers.
#include <ATen/ops/arange.h>
#include <ATen/ops/tanh.h>

#include "lowrank/models/bert_encoder.h"
#include "lowrank/models/family.h"
#include "lowrank/models/head.h"
#include "lowrank/models/text_model.h"

namespace lowrank::models {

namespace {

/// "classifier": out_proj(tanh(dense(x)))
class RobertaHead : public torch::nn::Module {
 public:
  RobertaHead(int64_t width, int64_t outputs)
      : dense_(register_module("dense", std::make_shared<nn::Linear>(width, width))),
        out_(register_module("out_proj", std::make_shared<nn::Linear>(width, outputs))) {}

  at::Tensor forward(const at::Tensor& x, const nn::RowKeys* keys) {
    return head_logits(*out_, at::tanh(head_forward(*dense_, x, keys)), keys);
  }

 private:
  std::shared_ptr<nn::Linear> dense_, out_;
};

/// pad + 1, pad + 2, … within each sequence; a padding id inside a text does not count and sits at row `pad` itself.
at::Tensor roberta_positions(const nn::Packed& batch, int64_t pad) {
  const at::Tensor real = batch.ids.ne(pad).to(at::kLong), count = real.cumsum(0);
  const at::Tensor first = at::arange(batch.tokens(), batch.ids.options()) - batch.positions;
  return (count - (count - real).index_select(0, first)) * real + pad;
}

class RobertaModel : public TextModel {
 public:
  RobertaModel(const BertConfig& config, const HeadOptions& head, bool stored_pooler) : roberta_(config) {
    head_ = head;
    if (head.kind == HeadKind::none) {
      encoder_.emplace(*this, config, stored_pooler);
      if (stored_pooler) head_modules_ = {"pooler"};
      return;
    }
    encoder_.emplace(*register_module("roberta", std::make_shared<torch::nn::Module>("RobertaModel")), config,
                     /*with_pooler=*/false);
    classifier_ = register_module("classifier", std::make_shared<RobertaHead>(config.width, outputs_of(head)));
    head_modules_ = may_be_new_ = {"classifier"};
  }

  at::Tensor encode(const nn::Packed& batch, bool first_token_only) override {
    check_batch(batch, max_length(), roberta_.vocabulary, roberta_.types);
    return encoder_->encode(batch, roberta_positions(batch, roberta_.pad_id), first_token_only);
  }

  at::Tensor classify(const at::Tensor& first_states, const nn::RowKeys* keys) override {
    require_head(*this);
    return classifier_->forward(first_states, keys);
  }

  int64_t width() const override { return roberta_.width; }
  int64_t max_length() const override { return roberta_.positions - roberta_.pad_id - 1; }
  int64_t vocabulary() const override { return roberta_.vocabulary; }
  std::string architecture() const override { return head_.kind == HeadKind::none ? "RobertaModel" : "RobertaForSequenceClassification"; }

 private:
  BertConfig roberta_;
  std::optional<BertEncoder> encoder_;
  std::shared_ptr<RobertaHead> classifier_;
};

std::unique_ptr<Model> make(const Json& config, const std::string& where, const HeadOptions& head, bool stored_pooler) {
  return std::make_unique<RobertaModel>(read_bert_config(config, where, /*default_pad_id=*/1), head, stored_pooler);
}

}  // namespace

const Family& roberta_family() {
  static const Family family{"roberta", "roberta.", {"lm_head.", "qa_outputs.", "classifier.", "pooler."}, {}, make};
  return family;
}

}  // namespace lowrank::models
