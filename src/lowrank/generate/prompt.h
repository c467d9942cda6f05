// Prompts as a UNet's conditions: tokens in chunks of the text encoder's length, the encoders' states side by side.
//
// A prompt longer than one chunk is encoded chunk by chunk, each with its own start and end, and the states are concatenated over
// time, as A1111 and ComfyUI do; pooled text is the first chunk's. Words have no weights: "(red:1.3)" is read as it stands, as in
// diffusers.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lowrank/models/diffusion/pipeline.h"
#include "lowrank/text/tokenizer.h"

namespace lowrank::generate {

struct PromptOptions {
  /// Last layers of the text encoders that are left out, beyond those that the model itself leaves out (diffusers' clip_skip;
  /// A1111 counts one more).
  int64_t clip_skip = 0;
  bool chunk_long = true;  // false: a prompt over one chunk is an error
};

struct TextConditions {
  at::Tensor states;  // [1, chunks·T, C], C of both encoders together
  at::Tensor pooled;  // [1, P]; undefined without a second encoder
};

/// What guidance pulls toward and away from. For a batch of pictures either may have a row for all or a row each ([B, …]).
struct Conditions {
  TextConditions positive, negative;
};

/// The prompts of a text file, one a line; blank lines and those that begin with # are left out. Throws what read_file throws, and
/// Error{invalid_argument} when none is left.
std::vector<std::string> read_prompts(const std::filesystem::path& file);

class PromptEncoder {
 public:
  /// Tokenizers are read from `tokenizers`: a folder with tokenizer/ and tokenizer_2/ in it (empty: the pipeline's own), or one tokenizer
  /// for both, the second then padding with "!", as SDXL was trained. Throws what Tokenizer::load throws, Error{invalid_argument}
  /// when there is none, and Error{file_format} for a vocabulary that the encoder has no row for. The pipeline must outlive this.
  PromptEncoder(const models::Pipeline& pipeline, const std::filesystem::path& tokenizers, const PromptOptions& options);

  /// Number of tokens without start and end (the more of both tokenizers).
  int64_t tokens(const std::string& prompt) const;
  int64_t chunk_tokens() const;  // 75
  int64_t chunks(const std::string& prompt) const;
  /// Error{invalid_argument} for a prompt that is too long and must not be chunked.
  void refuse_long(const std::string& prompt) const;

  /// In `chunks` chunks, at least those of the prompt. Throws what refuse_long throws.
  TextConditions encode(const std::string& prompt, int64_t chunks) const;
  /// Both in as many chunks. An empty negative prompt of SDXL is zeros where the pipeline says force_zeros_for_empty_prompt.
  Conditions encode(const std::string& prompt, const std::string& negative) const;

 private:
  struct Part {
    models::ClipTextModel* model;
    text::Tokenizer tokenizer;
    int32_t start, end, pad;
  };
  Part make_part(models::ClipTextModel& model, const std::filesystem::path& folder, std::optional<std::string> pad) const;
  std::vector<int32_t> ids_of(const Part& part, const std::string& prompt) const;
  at::Tensor chunked(const Part& part, const std::vector<int32_t>& ids, int64_t chunks) const;

  std::vector<Part> parts_;
  PromptOptions options_;
  bool zeros_for_empty_ = false;
};

}  // namespace lowrank::generate
