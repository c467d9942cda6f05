#include "lowrank/models/diffusion/clip_text.h"

#include <ATen/ops/arange.h>

#include "lowrank/models/config_reader.h"
#include "lowrank/models/diffusion/attention.h"
#include "lowrank/tensor/load.h"

namespace lowrank::models {

ClipTextConfig read_clip_text_config(const Json& json, const std::string& where, bool with_projection) {
  ConfigReader reader(json, where);
  ClipTextConfig config{};
  config.vocabulary = reader.size("vocab_size");
  config.width = reader.size("hidden_size");
  config.inner = reader.size("intermediate_size");
  config.layers = reader.size("num_hidden_layers");
  config.heads = reader.size("num_attention_heads");
  config.positions = reader.size("max_position_embeddings");
  config.epsilon = reader.number("layer_norm_eps", 1e-5);
  config.activation = reader.activation("hidden_act");
  config.eos_id = reader.integer("eos_token_id", 49407);
  if (with_projection) config.projection = reader.size("projection_dim");
  reader.model_keys();
  reader.only("model_type", "clip_text_model");
  reader.harmless({"projection_dim", "attention_dropout", "dropout", "initializer_factor"});
  reader.finish();
  check(config.width % config.heads == 0, ErrorKind::file_format, where,
        "expected 'hidden_size' to be a multiple of 'num_attention_heads', got {} and {}", config.width, config.heads);
  return config;
}

/// Pre-norm: x + attention(norm(x)), then x + mlp(norm(x)).
class ClipTextModel::Layer : public torch::nn::Module {
 public:
  explicit Layer(const ClipTextConfig& config) : heads_(config.heads), activation_(config.activation) {
    const auto attention = register_module("self_attn", std::make_shared<torch::nn::Module>("CLIPAttention"));
    const auto linear = [](torch::nn::Module& owner, const char* name, int64_t in, int64_t out) {
      return owner.register_module(name, std::make_shared<nn::Linear>(in, out));
    };
    for (const auto& [name, slot] : {std::pair{"k_proj", &k_}, {"v_proj", &v_}, {"q_proj", &q_}, {"out_proj", &out_}}) {
      *slot = linear(*attention, name, config.width, config.width);
    }
    norm1_ = register_module("layer_norm1", std::make_shared<nn::LayerNorm>(config.width, config.epsilon));
    const auto mlp = register_module("mlp", std::make_shared<torch::nn::Module>("CLIPMLP"));
    fc1_ = linear(*mlp, "fc1", config.width, config.inner);
    fc2_ = linear(*mlp, "fc2", config.inner, config.width);
    norm2_ = register_module("layer_norm2", std::make_shared<nn::LayerNorm>(config.width, config.epsilon));
  }

  at::Tensor forward(const at::Tensor& x, const nn::RowKeys* keys) {
    const at::Tensor normed = norm1_->forward(x);
    const at::Tensor q = q_->forward(normed, keys), k = k_->forward(normed, keys), v = v_->forward(normed, keys);
    const at::Tensor h = x + out_->forward(attend(q, k, v, heads_, /*causal=*/true), keys);
    return h + fc2_->forward(activation_(fc1_->forward(norm2_->forward(h), keys)), keys);
  }

 private:
  int64_t heads_;
  Activation activation_;
  std::shared_ptr<nn::Linear> q_, k_, v_, out_, fc1_, fc2_;
  std::shared_ptr<nn::LayerNorm> norm1_, norm2_;
};

ClipTextModel::ClipTextModel(const Json& config, const std::string& where, bool with_projection)
    : config_(read_clip_text_config(config, where, with_projection)), json_(config) {
  const auto text = register_module("text_model", std::make_shared<torch::nn::Module>("CLIPTextTransformer"));
  const auto embeddings = text->register_module("embeddings", std::make_shared<torch::nn::Module>("CLIPTextEmbeddings"));
  tokens_ = embeddings->register_module("token_embedding", std::make_shared<nn::Embedding>(config_.vocabulary, config_.width));
  positions_ = embeddings->register_module("position_embedding", std::make_shared<nn::Embedding>(config_.positions, config_.width));
  const auto encoder = text->register_module("encoder", std::make_shared<torch::nn::Module>("CLIPEncoder"));
  layers_ = encoder->register_module("layers", std::make_shared<Layers<Layer>>());
  for (int64_t i = 0; i < config_.layers; ++i) layers_->add(config_);
  final_norm_ = text->register_module("final_layer_norm", std::make_shared<nn::LayerNorm>(config_.width, config_.epsilon));
  if (config_.projection > 0) {
    projection_ = register_module("text_projection", std::make_shared<nn::Linear>(config_.width, config_.projection, /*with_bias=*/false));
  }
}

void ClipTextModel::check_ids(const at::Tensor& ids, int64_t skip) const {
  check(ids.dim() == 2 && ids.numel() > 0 && ids.scalar_type() == at::kLong, ErrorKind::shape, "clip text",
        "expected token ids [B, T] of int64, got {}", tensor::shape_text(ids.sizes()));
  check(ids.size(1) <= config_.positions, ErrorKind::invalid_argument, "clip text", "expected at most {} tokens, got {}", config_.positions,
        ids.size(1));
  const auto least = ids.min().item<int64_t>(), most = ids.max().item<int64_t>();
  check(least >= 0 && most < config_.vocabulary, ErrorKind::invalid_argument, "clip text", "expected ids from 0 to {}, got {} to {}",
        config_.vocabulary - 1, least, most);
  check(skip >= 0 && skip < config_.layers, ErrorKind::invalid_argument, "clip text", "expected to skip 0 to {} layers, got {}",
        config_.layers - 1, skip);
}

at::Tensor ClipTextModel::end_rows(const at::Tensor& ids) const {
  if (config_.eos_id == 2) return ids.argmax(1);
  const at::Tensor is_end = ids == config_.eos_id;
  check(is_end.any(1).all().item<bool>(), ErrorKind::invalid_argument, "clip text", "expected an end-of-text token ({}) in every row",
        config_.eos_id);
  return is_end.to(at::kInt).argmax(1);
}

ClipTextOutput ClipTextModel::forward(const at::Tensor& ids, int64_t skip, bool final_norm, bool pool, const nn::RowKeys* keys) {
  check_ids(ids, skip);
  const at::Tensor positions = at::arange(ids.size(1), ids.options()).expand_as(ids);
  at::Tensor x = tokens_->forward(ids, keys) + positions_->forward(positions, keys);
  const size_t wanted = layers_->size() - static_cast<size_t>(skip);
  ClipTextOutput output;
  for (size_t i = 0; i < (pool ? layers_->size() : wanted); ++i) {
    x = (*layers_)[i]->forward(x, keys);
    if (i + 1 == wanted) output.states = final_norm ? final_norm_->forward(x) : x;
  }
  if (!pool) return output;
  const at::Tensor ends = x.gather(1, end_rows(ids).view({-1, 1, 1}).expand({-1, 1, x.size(2)})).squeeze(1);
  output.pooled = final_norm_->forward(ends);
  if (projection_) output.pooled = projection_->forward(output.pooled, keys);
  return output;
}

}  // namespace lowrank::models
