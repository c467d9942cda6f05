// A model with its head, as the rest of the program sees it, whatever it reads. Families are one file each (models.def);
// module and parameter names equal those of the family's own class for the task in transformers.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <torch/nn/module.h>
#include <variant>
#include <vector>

#include "lowrank/base/json.h"
#include "lowrank/nn/packed.h"
#include "lowrank/nn/pictures.h"

namespace lowrank::models {

enum class HeadKind {
  none,          // the bare encoder: features only
  single_label,  // softmax over labels
  multi_label,   // one sigmoid a label
  regression,    // one number
};

struct HeadOptions {
  HeadKind kind = HeadKind::none;
  std::vector<std::string> labels;  // of single_label and multi_label; regression has one output
  uint64_t seed = 42;               // of new parameters
};

/// What one forward pass reads: texts for a TextModel, pictures for an ImageModel.
using Batch = std::variant<nn::Packed, nn::Pictures>;

class Model : public torch::nn::Module {
 public:
  /// What the head reads: the last state of each sample's first token, [B, D]. With a frozen encoder these can be computed once
  /// and kept. Error{invalid_argument} for a batch of what the model does not read.
  virtual at::Tensor features(const Batch& batch) = 0;
  /// The head alone: outputs [B, labels], float32, from features [B, D]; a pooler counts as part of the head. `keys` are the
  /// samples' dropout keys while training, else null. Error{invalid_argument} for a model without a head.
  virtual at::Tensor classify(const at::Tensor& features, const nn::RowKeys* keys = nullptr) = 0;
  /// classify(features(batch)).
  at::Tensor logits(const Batch& batch);

  virtual int64_t width() const = 0;  // D
  /// The checkpoint class name in transformers: "BertForSequenceClassification".
  virtual std::string architecture() const = 0;
  /// Module names that belong to the head ("classifier", "pre_classifier", and what is new): never adapted by
  /// all-linear.
  std::vector<std::string> head_modules() const;

  const HeadOptions& head() const { return head_; }
  /// Modules that the base checkpoint does not hold: initialised here, always trained, saved with the adapter.
  const std::vector<std::string>& new_modules() const { return new_modules_; }
  bool is_new(const std::string& parameter) const;
  /// The checkpoint folder's config.json.
  const Json& config() const { return config_; }

 protected:
  friend class ModelLoader;
  friend std::unique_ptr<Model> make_fresh(const Json& config, const HeadOptions& head);
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
std::unique_ptr<Model> load_model(const std::filesystem::path& folder, const HeadOptions& head, at::ScalarType dtype = at::kFloat);

/// A model from a config.json's content alone, float32 and frozen but for its head: norms 1, biases 0, every other weight
/// normal(0, initializer_range) from (head.seed, "init:<parameter>"). transformers begins alike, but that it leaves the padding
/// id's embedding row 0, fills DistilBERT's positions with sinusoids where its configuration says so, and cuts the normal of
/// ViT's positions and class token at ±2, a hundred deviations.
std::unique_ptr<Model> make_fresh(const Json& config, const HeadOptions& head);

struct PictureInput {
  int64_t height, width;  // pixels
  int64_t tokens;         // that the model makes of a picture
};

/// What the folder's model reads, by its config.json alone: pictures, or none for texts. Error{unsupported} for an unknown family.
std::optional<PictureInput> picture_input(const std::filesystem::path& folder);

/// The head stored in the folder itself (problem_type, id2label), when the checkpoint has one.
HeadOptions stored_head(const std::filesystem::path& folder);

/// Writes a model folder that transformers loads: config.json (labels, problem_type, architecture), model.safetensors,
/// and the tokenizer's, image processor's and other small files of `base_folder` copied as they are. Merged hosts are written
/// merged; Error{invalid_argument} when an adapter is attached but not merged.
void save_model(const std::filesystem::path& folder, Model& model, const std::filesystem::path& base_folder);

}  // namespace lowrank::models
