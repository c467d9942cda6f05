// Captions as a UNet sees them: token windows, the text encoders' states and, for SDXL, their pooled text.
//
// A window holds begin, up to positions − 2 tokens, end, padding. Several windows make one sequence as in kohya's sd-scripts
// (library/train_util.py, get_hidden_states): the first state, the inner states of every window, the last state.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "lowrank/data/images/image_set.h"
#include "lowrank/models/diffusion/pipeline.h"
#include "lowrank/train/diffusion/tensor_cache.h"

namespace lowrank::train {

/// CLIP's tokenizer as one text encoder has it.
struct ClipTokens {
  std::function<std::vector<int64_t>(const std::string&)> encode;  // without begin and end
  int64_t begin = 0, end = 0, padding = 0;
};
/// Of a folder with a tokenizer's files, as tokenizer/ of a diffusers folder. Throws what Tokenizer::load throws.
ClipTokens load_clip_tokens(const std::filesystem::path& folder);

struct TextOptions {
  int64_t clip_skip = 0;  // layers left out at the end; SDXL has its own (the last one)
  int64_t windows = 1;    // of a caption; tokens beyond are cut
};

/// [B, S, C], and [B, P] in SDXL.
struct TextConditions {
  at::Tensor states, pooled;
};

class TextStates {
 public:
  /// `tokens`: one a text encoder. Error{invalid_argument} for another number, or a clip skip with SDXL.
  TextStates(const models::Pipeline& pipeline, std::vector<ClipTokens> tokens, const TextOptions& options);

  /// Tokens of a text with begin and end, and how many the windows take.
  int64_t count(const std::string& text) const;
  int64_t limit() const;
  /// What the encoders say of `texts`, with their gradients if they take any. `keys`: one a text while training with dropout.
  TextConditions encode(const std::vector<std::string>& texts, const nn::RowKeys* keys = nullptr) const;
  /// The same without gradients, each text computed alone and filed under its tokens and the encoders' weights as they were at the first
  /// call.
  TextConditions cached(const std::vector<std::string>& texts, TensorCache& cache);
  /// Lets go of the encoders: from now on all texts must be in the cache.
  void release();
  /// SHA-256 over the tokens of `texts`, in order.
  std::string tokens_hash(const std::vector<std::string>& texts) const;
  /// Widths of states and pooled text (0: none).
  std::pair<int64_t, int64_t> widths() const { return widths_; }
  /// S.
  int64_t length() const { return limit(); }

 private:
  /// [windows, positions] int64 of one encoder.
  at::Tensor ids(size_t encoder, const std::string& text) const;
  std::string key(const std::string& text);
  at::Tensor joined(const at::Tensor& windows) const;

  std::vector<std::shared_ptr<models::ClipTextModel>> encoders_;
  bool xl_;
  int64_t positions_;
  std::pair<int64_t, int64_t> widths_{0, 0};
  std::vector<ClipTokens> tokens_;
  TextOptions options_;
  std::string weights_;  // hash; "" before it was needed
};

/// SDXL's time ids of one picture: original height and width, top and left of the cut, target height and width.
std::vector<double> time_ids(const data::ImageEntry& entry, bool mirrored);

}  // namespace lowrank::train
