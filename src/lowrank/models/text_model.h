// An encoder for text with its head, as the rest of the program sees it. Families are one file each (models.def);
// module and parameter names equal the names in the Hugging Face checkpoint of the family's own class for the task.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <torch/nn/module.h>
#include <utility>
#include <vector>

#include "lowrank/base/json.h"
#include "lowrank/nn/packed.h"

namespace lowrank::models {

enum class HeadKind {
  none,          // the bare encoder: embeddings only
  single_label,  // softmax over labels
  multi_label,   // one sigmoid a label
  regression,    // one number
};

enum class Pooling { mean, cls };

struct HeadOptions {
  HeadKind kind = HeadKind::none;
  std::vector<std::string> labels;  // of single_label and multi_label; regression has one output
  uint64_t seed = 42;               // of new parameters
};

class TextModel : public torch::nn::Module {
 public:
  /// Hidden states of the last layer, [N, D]. With `first_token_only` only each sequence's first token is
  /// computed in the last layer (the rest of that layer is skipped): [B, D].
  virtual at::Tensor encode(const nn::Packed& batch, bool first_token_only = false) = 0;
  /// The head alone: outputs [B, labels], float32, from encode(batch, true) [B, D]; a pooler counts as part of the
  /// head. `keys` are the first rows' dropout keys while training, else null. Error{invalid_argument} for a model
  /// without a head. With a frozen encoder its inputs are computed once and kept.
  virtual at::Tensor classify(const at::Tensor& first_states, const nn::RowKeys* keys = nullptr) = 0;
  /// classify(encode(batch, true)).
  at::Tensor logits(const nn::Packed& batch);

  virtual int64_t width() const = 0;       // D
  virtual int64_t max_length() const = 0;  // positions that the model knows
  virtual int64_t vocabulary() const = 0;
  /// The checkpoint class name in transformers: "BertForSequenceClassification".
  virtual std::string architecture() const = 0;
  /// Module names that belong to the head ("classifier", "pre_classifier", and what is new): never adapted by
  /// all-linear.
  std::vector<std::string> head_modules() const;

  const HeadOptions& head() const { return head_; }
  /// Modules that the base checkpoint does not hold: initialised here, always trained, saved with the adapter.
  const std::vector<std::string>& new_modules() const { return new_modules_; }
  /// The checkpoint folder's config.json.
  const Json& config() const { return config_; }

 protected:
  friend class ModelLoader;
  HeadOptions head_;
  Json config_;
  std::vector<std::string> head_modules_;  // of the family's class
  std::vector<std::string> may_be_new_;    // modules that a checkpoint of another class of the family lacks
  std::vector<std::string> new_modules_;
};

/// Loads a Hugging Face folder (config.json, model.safetensors or shards). A checkpoint of the bare encoder and one of
/// the same family with another head are both accepted; parameters that the file lacks must all belong to the head
/// (else Error{file_format} that lists them), and tensors that nobody reads are an error too unless they belong to
/// another head (listed in a log notice). A stored head is used when it has the kind and the labels of `head`, else a
/// new one is made. All weights are cast to `dtype` and frozen, except new modules, which train in float32 (float64
/// when `dtype` is that): weights normal(0, initializer_range) from (head.seed, "init:<parameter>"), biases 0.
std::unique_ptr<TextModel> load_text_model(const std::filesystem::path& folder, const HeadOptions& head, at::ScalarType dtype = at::kFloat);

/// The head stored in the folder itself (problem_type, id2label), when the checkpoint has one.
HeadOptions stored_head(const std::filesystem::path& folder);

/// [B, D] embeddings of the batch, unit length when `normalise`: mean over each sequence's tokens, or its first token.
at::Tensor embed(TextModel& model, const nn::Packed& batch, Pooling pooling, bool normalise);

/// Pooling and normalisation as sentence-transformers' modules.json says; mean and normalised when the folder has none.
/// Throws Error{unsupported} for other poolings and modules (dense layers, prompts, lower-casing).
std::pair<Pooling, bool> stored_pooling(const std::filesystem::path& folder);

/// Tokens, special ones included, after which sentence-transformers cuts a text; none when the folder does not say.
std::optional<int64_t> stored_max_length(const std::filesystem::path& folder);

/// Writes a model folder that transformers loads: config.json (labels, problem_type, architecture), model.safetensors,
/// and the tokenizer's and other small files of `base_folder` copied as they are. Merged hosts are written merged;
/// Error{invalid_argument} when an adapter is attached but not merged.
void save_text_model(const std::filesystem::path& folder, TextModel& model, const std::filesystem::path& base_folder);

}  // namespace lowrank::models
