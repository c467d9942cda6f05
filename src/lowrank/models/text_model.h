// An encoder for text with its head.
#pragma once

#include <optional>
#include <utility>

#include "lowrank/models/model.h"

namespace lowrank::models {

enum class Pooling { mean, cls };

class TextModel : public Model {
 public:
  /// Hidden states of the last layer, [N, D]. With `first_token_only` only each sequence's first token is
  /// computed in the last layer (the rest of that layer is skipped): [B, D].
  virtual at::Tensor encode(const nn::Packed& batch, bool first_token_only = false) = 0;
  /// encode(batch, true).
  at::Tensor features(const Batch& batch) final;

  virtual int64_t max_length() const = 0;  // positions that the model knows
  virtual int64_t vocabulary() const = 0;
};

/// load_model for a family that reads text; Error{unsupported} for another.
std::unique_ptr<TextModel> load_text_model(const std::filesystem::path& folder, const HeadOptions& head, at::ScalarType dtype = at::kFloat);

/// [B, D] embeddings of the batch, unit length when `normalise`: mean over each sequence's tokens, or its first token.
at::Tensor embed(TextModel& model, const nn::Packed& batch, Pooling pooling, bool normalise);

/// Pooling and normalisation as sentence-transformers' modules.json says; mean and normalised when the folder has none.
/// Throws Error{unsupported} for other poolings and modules (dense layers, prompts, lower-casing).
std::pair<Pooling, bool> stored_pooling(const std::filesystem::path& folder);

/// Tokens, special ones included, after which sentence-transformers cuts a text; none when the folder does not say.
std::optional<int64_t> stored_max_length(const std::filesystem::path& folder);

}  // namespace lowrank::models
