// DistilBERT (Sanh et al., arXiv 1910.01108): BERT without segments and pooler, under its own names. DistilBertModel
// and DistilBertForSequenceClassification of transformers.
#include <ATen/ops/relu.h>

#include "lowrank/kernels/attention.h"
#include "lowrank/models/config_reader.h"
#include "lowrank/models/family.h"
#include "lowrank/models/head.h"
#include "lowrank/models/output_rows.h"
#include "lowrank/models/text_model.h"
#include "lowrank/nn/embedding.h"
#include "lowrank/nn/layer_norm.h"

namespace lowrank::models {

namespace {

constexpr double kEpsilon = 1e-12;  // fixed in the reference, no key of the configuration

struct DistilBertConfig {
  int64_t vocabulary, width, layers, heads, inner, positions;
  Activation activation;
};

DistilBertConfig read_config(const Json& json, const std::string& where) {
  ConfigReader reader(json, where);
  reader.model_keys();
  DistilBertConfig config{};
  config.vocabulary = reader.size("vocab_size");
  config.width = reader.size("dim");
  config.layers = reader.size("n_layers");
  config.heads = reader.size("n_heads");
  config.inner = reader.size("hidden_dim");
  config.positions = reader.size("max_position_embeddings");
  config.activation = reader.activation("activation");
  // Sinusoidal positions are stored as an ordinary table.
  reader.harmless({"sinusoidal_pos_embds", "dropout", "attention_dropout", "qa_dropout", "seq_classif_dropout"});
  reader.finish();
  check(config.width % config.heads == 0, ErrorKind::file_format, where, "expected 'dim' to be a multiple of 'n_heads', got {} and {}",
        config.width, config.heads);
  return config;
}

class Embeddings : public torch::nn::Module {
 public:
  explicit Embeddings(const DistilBertConfig& config)
      : words_(register_module("word_embeddings", std::make_shared<nn::Embedding>(config.vocabulary, config.width))),
        positions_(register_module("position_embeddings", std::make_shared<nn::Embedding>(config.positions, config.width))),
        norm_(register_module("LayerNorm", std::make_shared<nn::LayerNorm>(config.width, kEpsilon))) {}

  at::Tensor forward(const nn::Packed& batch) {
    const nn::RowKeys* keys = batch.dropout_keys();
    return norm_->forward(words_->forward(batch.ids, keys) + positions_->forward(batch.positions, keys));
  }

 private:
  std::shared_ptr<nn::Embedding> words_, positions_;
  std::shared_ptr<nn::LayerNorm> norm_;
};

class Attention : public torch::nn::Module {
 public:
  explicit Attention(const DistilBertConfig& config) : heads_(config.heads) {
    query_ = register_module("q_lin", std::make_shared<nn::Linear>(config.width, config.width));
    key_ = register_module("k_lin", std::make_shared<nn::Linear>(config.width, config.width));
    value_ = register_module("v_lin", std::make_shared<nn::Linear>(config.width, config.width));
    out_ = register_module("out_lin", std::make_shared<nn::Linear>(config.width, config.width));
  }

  at::Tensor forward(const at::Tensor& x, const at::Tensor& selected, const OutputRows& rows) {
    const at::Tensor q = query_->forward(selected, rows.keys()), k = key_->forward(x, rows.all_keys());
    const at::Tensor mixed =
        kernels::packed_attention(q, k, value_->forward(x, rows.all_keys()), rows.offsets(), rows.all_offsets(), heads_);
    return out_->forward(mixed, rows.keys());
  }

 private:
  int64_t heads_;
  std::shared_ptr<nn::Linear> query_, key_, value_, out_;
};

class FeedForward : public torch::nn::Module {
 public:
  explicit FeedForward(const DistilBertConfig& config)
      : activation_(config.activation),
        first_(register_module("lin1", std::make_shared<nn::Linear>(config.width, config.inner))),
        second_(register_module("lin2", std::make_shared<nn::Linear>(config.inner, config.width))) {}

  at::Tensor forward(const at::Tensor& x, const nn::RowKeys* keys) { return second_->forward(activation_(first_->forward(x, keys)), keys); }

 private:
  Activation activation_;
  std::shared_ptr<nn::Linear> first_, second_;
};

class Block : public torch::nn::Module {
 public:
  explicit Block(const DistilBertConfig& config)
      : attention_(register_module("attention", std::make_shared<Attention>(config))),
        attention_norm_(register_module("sa_layer_norm", std::make_shared<nn::LayerNorm>(config.width, kEpsilon))),
        feed_forward_(register_module("ffn", std::make_shared<FeedForward>(config))),
        output_norm_(register_module("output_layer_norm", std::make_shared<nn::LayerNorm>(config.width, kEpsilon))) {}

  at::Tensor forward(const at::Tensor& x, const OutputRows& rows) {
    const at::Tensor selected = rows.select(x);
    const at::Tensor attended = attention_norm_->forward(attention_->forward(x, selected, rows) + selected);
    return output_norm_->forward(feed_forward_->forward(attended, rows.keys()) + attended);
  }

 private:
  std::shared_ptr<Attention> attention_;
  std::shared_ptr<nn::LayerNorm> attention_norm_;
  std::shared_ptr<FeedForward> feed_forward_;
  std::shared_ptr<nn::LayerNorm> output_norm_;
};

class DistilBertModel : public TextModel {
 public:
  DistilBertModel(const DistilBertConfig& config, const HeadOptions& head) : distilbert_(config) {
    head_ = head;
    if (head.kind == HeadKind::none) {
      build_encoder(*this);
      return;
    }
    build_encoder(*register_module("distilbert", std::make_shared<torch::nn::Module>("DistilBertModel")));
    pre_classifier_ = register_module("pre_classifier", std::make_shared<nn::Linear>(config.width, config.width));
    classifier_ = register_module("classifier", std::make_shared<nn::Linear>(config.width, outputs_of(head)));
    head_modules_ = may_be_new_ = {"pre_classifier", "classifier"};
  }

  at::Tensor encode(const nn::Packed& batch, bool first_token_only) override {
    check_batch(batch, max_length(), distilbert_.vocabulary, /*types=*/1);
    const OutputRows all(batch, false), wanted(batch, first_token_only);
    at::Tensor x = embeddings_->forward(batch);
    for (const auto& block : blocks_) x = block->forward(x, block == blocks_.back() ? wanted : all);
    return x;
  }

  at::Tensor classify(const at::Tensor& first_states, const nn::RowKeys* keys) override {
    require_head(*this);
    return head_logits(*classifier_, at::relu(head_forward(*pre_classifier_, first_states, keys)), keys);
  }

  int64_t width() const override { return distilbert_.width; }
  int64_t max_length() const override { return distilbert_.positions; }
  int64_t vocabulary() const override { return distilbert_.vocabulary; }
  std::string architecture() const override {
    return head_.kind == HeadKind::none ? "DistilBertModel" : "DistilBertForSequenceClassification";
  }

 private:
  void build_encoder(torch::nn::Module& owner) {
    embeddings_ = owner.register_module("embeddings", std::make_shared<Embeddings>(distilbert_));
    const auto transformer = owner.register_module("transformer", std::make_shared<torch::nn::Module>("Transformer"));
    const auto list = transformer->register_module("layer", std::make_shared<torch::nn::Module>("ModuleList"));
    for (int64_t i = 0; i < distilbert_.layers; ++i) {
      blocks_.push_back(list->register_module(std::to_string(i), std::make_shared<Block>(distilbert_)));
    }
  }

  DistilBertConfig distilbert_;
  std::shared_ptr<Embeddings> embeddings_;
  std::vector<std::shared_ptr<Block>> blocks_;
  std::shared_ptr<nn::Linear> pre_classifier_, classifier_;
};

std::unique_ptr<Model> make(const Json& config, const std::string& where, const HeadOptions& head, bool /*stored_pooler*/) {
  return std::make_unique<DistilBertModel>(read_config(config, where), head);
}

}  // namespace

const Family& distilbert_family() {
  static const Family family{"distilbert",
                             "distilbert.",
                             {"vocab_transform.", "vocab_layer_norm.", "vocab_projector.", "qa_outputs.", "pre_classifier.", "classifier."},
                             {},
                             make};
  return family;
}

}  // namespace lowrank::models
