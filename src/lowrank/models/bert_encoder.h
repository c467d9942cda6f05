// The encoder that BERT and RoBERTa share: embeddings, post-norm layers, pooler, with the checkpoint's module names.
// Devlin et al., arXiv 1810.04805. Dropout of the base is not applied: it is frozen and runs as in evaluation.
#pragma once

#include <memory>
#include <torch/nn/module.h>
#include <vector>

#include "lowrank/models/activation.h"
#include "lowrank/models/config_reader.h"
#include "lowrank/models/output_rows.h"
#include "lowrank/nn/embedding.h"
#include "lowrank/nn/layer_norm.h"
#include "lowrank/nn/linear.h"

namespace lowrank::models {

struct BertConfig {
  int64_t vocabulary, width, layers, heads, inner, positions, types, pad_id;
  double epsilon;
  Activation activation;
};

/// Throws what ConfigReader::finish throws.
BertConfig read_bert_config(const Json& config, const std::string& where, int64_t default_pad_id);

/// dense [O, O] and tanh, over first-token states.
class BertPooler : public torch::nn::Module {
 public:
  explicit BertPooler(int64_t width);
  at::Tensor forward(const at::Tensor& first_states, const nn::RowKeys* keys);

 private:
  std::shared_ptr<nn::Linear> dense_;
};

class BertEmbeddings;
class BertLayer;

/// Not a module: the parts hang on `owner`, so that a bare model and one with a head have their own class's names.
class BertEncoder {
 public:
  BertEncoder(torch::nn::Module& owner, const BertConfig& config, bool with_pooler);

  /// [N, D], or [B, D] with first_only; `positions` [N] are rows of the position table.
  at::Tensor encode(const nn::Packed& batch, const at::Tensor& positions, bool first_only);
  /// The pooler, null without one.
  BertPooler* pooler() const { return pooler_.get(); }

 private:
  std::shared_ptr<BertEmbeddings> embeddings_;
  std::vector<std::shared_ptr<BertLayer>> layers_;
  std::shared_ptr<BertPooler> pooler_;
};

}  // namespace lowrank::models
