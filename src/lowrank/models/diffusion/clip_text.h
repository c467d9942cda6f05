// CLIPTextModel and CLIPTextModelWithProjection, with the names of their checkpoints ("text_model.…"). Radford et al., arXiv 2103.00020.
#pragma once

#include "lowrank/base/json.h"
#include "lowrank/models/activation.h"
#include "lowrank/models/diffusion/layers.h"
#include "lowrank/nn/embedding.h"
#include "lowrank/nn/layer_norm.h"
#include "lowrank/nn/linear.h"

namespace lowrank::models {

struct ClipTextConfig {
  int64_t vocabulary, width, inner, layers, heads, positions;
  int64_t projection;  // width of the pooled output; 0 for CLIPTextModel, which has no projection
  int64_t eos_id;
  double epsilon;
  Activation activation;
};

/// Throws what ConfigReader::finish throws.
ClipTextConfig read_clip_text_config(const Json& config, const std::string& where, bool with_projection);

struct ClipTextOutput {
  at::Tensor states;  // [B, T, D]
  at::Tensor pooled;  // [B, D], or [B, P] with a projection; undefined when not asked for
};

class ClipTextModel : public torch::nn::Module {
 public:
  ClipTextModel(const Json& config, const std::string& where, bool with_projection);

  /// States after all but the last `skip` layers: 0 with `final_norm` is transformers' last_hidden_state (SD1.5), 1 without its
  /// hidden_states[-2] (SDXL). Pooled: the last layer's normed state at the first end-of-text token (the largest id, in old
  /// configurations with eos_token_id 2), projected if the model has a projection; layers that nobody asked for do not run.
  /// ids [B, T] int64. Error{invalid_argument} for ids outside the vocabulary, T over the positions, a bad skip, or a row without
  /// an end-of-text token when `pool`.
  ClipTextOutput forward(const at::Tensor& ids, int64_t skip, bool final_norm, bool pool, const nn::RowKeys* keys = nullptr);

  const ClipTextConfig& config() const { return config_; }
  const Json& json() const { return json_; }
  /// "CLIPTextModel" or "CLIPTextModelWithProjection".
  std::string class_name() const { return config_.projection > 0 ? "CLIPTextModelWithProjection" : "CLIPTextModel"; }

 private:
  class Layer;
  void check_ids(const at::Tensor& ids, int64_t skip) const;
  at::Tensor end_rows(const at::Tensor& ids) const;  // [B]

  ClipTextConfig config_;
  Json json_;
  std::shared_ptr<nn::Embedding> tokens_, positions_;
  std::shared_ptr<Layers<Layer>> layers_;
  std::shared_ptr<nn::LayerNorm> final_norm_;
  std::shared_ptr<nn::Linear> projection_;
};

}  // namespace lowrank::models
