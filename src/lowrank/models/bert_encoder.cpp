#include "lowrank/models/bert_encoder.h"

#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros_like.h>

#include "lowrank/kernels/attention.h"
#include "lowrank/models/head.h"

namespace lowrank::models {

BertConfig read_bert_config(const Json& json, const std::string& where, int64_t default_pad_id) {
  ConfigReader reader(json, where);
  reader.model_keys();
  BertConfig config{};
  config.vocabulary = reader.size("vocab_size");
  config.width = reader.size("hidden_size");
  config.layers = reader.size("num_hidden_layers");
  config.heads = reader.size("num_attention_heads");
  config.inner = reader.size("intermediate_size");
  config.positions = reader.size("max_position_embeddings");
  config.types = reader.integer("type_vocab_size", 2);
  config.pad_id = reader.integer("pad_token_id", default_pad_id);
  config.epsilon = reader.number("layer_norm_eps", 1e-12);
  config.activation = reader.activation("hidden_act");
  reader.only("embedding_size", config.width);
  reader.harmless({"hidden_dropout_prob", "attention_probs_dropout_prob"});
  reader.finish();
  check(config.width % config.heads == 0, ErrorKind::file_format, where,
        "expected 'hidden_size' to be a multiple of 'num_attention_heads', got {} and {}", config.width, config.heads);
  return config;
}

class BertEmbeddings : public torch::nn::Module {
 public:
  explicit BertEmbeddings(const BertConfig& config)
      : words_(register_module("word_embeddings", std::make_shared<nn::Embedding>(config.vocabulary, config.width))),
        positions_(register_module("position_embeddings", std::make_shared<nn::Embedding>(config.positions, config.width))),
        types_(register_module("token_type_embeddings", std::make_shared<nn::Embedding>(config.types, config.width))),
        norm_(register_module("LayerNorm", std::make_shared<nn::LayerNorm>(config.width, config.epsilon))) {}

  at::Tensor forward(const nn::Packed& batch, const at::Tensor& positions) {
    const nn::RowKeys* keys = batch.dropout_keys();
    const at::Tensor types = types_->shape().in > 1 ? batch.type_ids : at::zeros_like(batch.type_ids);
    return norm_->forward(words_->forward(batch.ids, keys) + types_->forward(types, keys) + positions_->forward(positions, keys));
  }

 private:
  std::shared_ptr<nn::Embedding> words_, positions_, types_;
  std::shared_ptr<nn::LayerNorm> norm_;
};

/// "attention.self"
class BertSelfAttention : public torch::nn::Module {
 public:
  explicit BertSelfAttention(const BertConfig& config) : heads_(config.heads) {
    query_ = register_module("query", std::make_shared<nn::Linear>(config.width, config.width));
    key_ = register_module("key", std::make_shared<nn::Linear>(config.width, config.width));
    value_ = register_module("value", std::make_shared<nn::Linear>(config.width, config.width));
  }

  at::Tensor forward(const at::Tensor& x, const at::Tensor& selected, const OutputRows& rows) {
    const at::Tensor q = query_->forward(selected, rows.keys()), k = key_->forward(x, rows.all_keys());
    return kernels::packed_attention(q, k, value_->forward(x, rows.all_keys()), rows.offsets(), rows.all_offsets(), heads_);
  }

 private:
  int64_t heads_;
  std::shared_ptr<nn::Linear> query_, key_, value_;
};

/// "attention.output" and "output": LayerNorm(dense(x) + residual)
class BertOutput : public torch::nn::Module {
 public:
  BertOutput(int64_t in, const BertConfig& config)
      : dense_(register_module("dense", std::make_shared<nn::Linear>(in, config.width))),
        norm_(register_module("LayerNorm", std::make_shared<nn::LayerNorm>(config.width, config.epsilon))) {}

  at::Tensor forward(const at::Tensor& x, const at::Tensor& residual, const nn::RowKeys* keys) {
    return norm_->forward(dense_->forward(x, keys) + residual);
  }

 private:
  std::shared_ptr<nn::Linear> dense_;
  std::shared_ptr<nn::LayerNorm> norm_;
};

class BertAttention : public torch::nn::Module {
 public:
  explicit BertAttention(const BertConfig& config)
      : self_(register_module("self", std::make_shared<BertSelfAttention>(config))),
        output_(register_module("output", std::make_shared<BertOutput>(config.width, config))) {}

  at::Tensor forward(const at::Tensor& x, const OutputRows& rows) {
    const at::Tensor selected = rows.select(x);
    return output_->forward(self_->forward(x, selected, rows), selected, rows.keys());
  }

 private:
  std::shared_ptr<BertSelfAttention> self_;
  std::shared_ptr<BertOutput> output_;
};

class BertIntermediate : public torch::nn::Module {
 public:
  explicit BertIntermediate(const BertConfig& config)
      : activation_(config.activation), dense_(register_module("dense", std::make_shared<nn::Linear>(config.width, config.inner))) {}

  at::Tensor forward(const at::Tensor& x, const nn::RowKeys* keys) { return activation_(dense_->forward(x, keys)); }

 private:
  Activation activation_;
  std::shared_ptr<nn::Linear> dense_;
};

class BertLayer : public torch::nn::Module {
 public:
  explicit BertLayer(const BertConfig& config)
      : attention_(register_module("attention", std::make_shared<BertAttention>(config))),
        intermediate_(register_module("intermediate", std::make_shared<BertIntermediate>(config))),
        output_(register_module("output", std::make_shared<BertOutput>(config.inner, config))) {}

  at::Tensor forward(const at::Tensor& x, const OutputRows& rows) {
    const at::Tensor attended = attention_->forward(x, rows);
    return output_->forward(intermediate_->forward(attended, rows.keys()), attended, rows.keys());
  }

 private:
  std::shared_ptr<BertAttention> attention_;
  std::shared_ptr<BertIntermediate> intermediate_;
  std::shared_ptr<BertOutput> output_;
};

BertPooler::BertPooler(int64_t width) : dense_(register_module("dense", std::make_shared<nn::Linear>(width, width))) {}

at::Tensor BertPooler::forward(const at::Tensor& first_states, const nn::RowKeys* keys) {
  return at::tanh(head_forward(*dense_, first_states, keys));
}

BertEncoder::BertEncoder(torch::nn::Module& owner, const BertConfig& config, bool with_pooler) {
  embeddings_ = owner.register_module("embeddings", std::make_shared<BertEmbeddings>(config));
  const auto encoder = owner.register_module("encoder", std::make_shared<torch::nn::Module>("BertEncoder"));
  const auto list = encoder->register_module("layer", std::make_shared<torch::nn::Module>("ModuleList"));
  for (int64_t i = 0; i < config.layers; ++i) {
    layers_.push_back(list->register_module(std::to_string(i), std::make_shared<BertLayer>(config)));
  }
  if (with_pooler) pooler_ = owner.register_module("pooler", std::make_shared<BertPooler>(config.width));
}

at::Tensor BertEncoder::encode(const nn::Packed& batch, const at::Tensor& positions, bool first_only) {
  const OutputRows all(batch, false), wanted(batch, first_only);
  at::Tensor x = embeddings_->forward(batch, positions);
  for (const auto& layer : layers_) x = layer->forward(x, layer == layers_.back() ? wanted : all);
  return x;
}

}  // namespace lowrank::models
