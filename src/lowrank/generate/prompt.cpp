#include "lowrank/generate/prompt.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros_like.h>
#include <algorithm>
#include <cctype>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"

namespace lowrank::generate {

namespace fs = std::filesystem;

std::vector<std::string> read_prompts(const fs::path& file) {
  std::vector<std::string> prompts;
  const std::string text = read_file(file);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back())) != 0) line.pop_back();
    if (!line.empty() && line.front() != '#') prompts.push_back(line);
    begin = end + 1;
  }
  check(!prompts.empty(), ErrorKind::invalid_argument, file.string(), "expected a prompt a line, got an empty file");
  return prompts;
}

PromptEncoder::PromptEncoder(const models::Pipeline& pipeline, const fs::path& tokenizers, const PromptOptions& options)
    : options_(options) {
  const fs::path root = tokenizers.empty() ? pipeline.folder : tokenizers;
  if (root.empty()) {
    fail(ErrorKind::invalid_argument, "tokenizer", "expected a folder, got none: a single checkpoint holds no tokenizer",
         "--tokenizer FOLDER: the tokenizer/ folder of a diffusers model, or one with CLIP's vocab.json and merges.txt");
  }
  const bool split = fs::is_directory(root / "tokenizer");
  parts_.push_back(make_part(*pipeline.text_encoder, split ? root / "tokenizer" : root, std::nullopt));
  if (!pipeline.is_xl()) return;
  const bool own = split && fs::is_directory(root / "tokenizer_2");
  parts_.push_back(make_part(*pipeline.text_encoder_2,
                             own     ? root / "tokenizer_2"
                             : split ? root / "tokenizer"
                                     : root,
                             own ? std::nullopt : std::optional<std::string>("!")));
  zeros_for_empty_ = json_get<bool>(pipeline.model_index, "force_zeros_for_empty_prompt", true, "model_index.json");
}

PromptEncoder::Part PromptEncoder::make_part(models::ClipTextModel& model, const fs::path& folder, std::optional<std::string> pad) const {
  text::Tokenizer tokenizer = text::Tokenizer::load(folder);
  tokenizer.set_max_length(0);
  const text::Encoding empty = tokenizer.encode("");
  check(empty.ids.size() == 2, ErrorKind::file_format, folder.string(),
        "expected a tokenizer that adds a start and an end token, got one that adds {}", empty.ids.size());
  const int32_t end = empty.ids[1];
  const std::optional<int32_t> padding = pad ? tokenizer.token_to_id(*pad) : tokenizer.pad_id();
  check(tokenizer.vocab_size() <= model.config().vocabulary, ErrorKind::file_format, folder.string(),
        "expected at most the text encoder's {} tokens, got {}", model.config().vocabulary, tokenizer.vocab_size());
  return {&model, std::move(tokenizer), empty.ids[0], end, padding.value_or(end)};
}

std::vector<int32_t> PromptEncoder::ids_of(const Part& part, const std::string& prompt) const {
  const std::vector<int32_t> ids = part.tokenizer.encode(prompt).ids;
  return {ids.begin() + 1, ids.end() - 1};
}

int64_t PromptEncoder::tokens(const std::string& prompt) const {
  size_t most = 0;
  for (const Part& part : parts_) most = std::max(most, ids_of(part, prompt).size());
  return static_cast<int64_t>(most);
}

int64_t PromptEncoder::chunk_tokens() const { return parts_.front().model->config().positions - 2; }

int64_t PromptEncoder::chunks(const std::string& prompt) const {
  return std::max<int64_t>(1, (tokens(prompt) + chunk_tokens() - 1) / chunk_tokens());
}

void PromptEncoder::refuse_long(const std::string& prompt) const {
  const auto kept = static_cast<std::ptrdiff_t>(chunk_tokens());
  for (const Part& part : parts_) {
    const std::vector<int32_t> ids = ids_of(part, prompt);
    if (options_.chunk_long || std::ssize(ids) <= kept) continue;
    const std::string rest = part.tokenizer.decode({ids.begin() + kept, ids.end()});
    fail(ErrorKind::invalid_argument, "prompt",
         fmt::format("expected at most {} tokens, got {} in '{}': no room for '{}'", kept, ids.size(), prompt, rest),
         "--long-prompts chunk encodes it in pieces");
  }
}

// [start, up to 75 tokens, end, padding] a chunk.
at::Tensor PromptEncoder::chunked(const Part& part, const std::vector<int32_t>& ids, int64_t chunks) const {
  const int64_t room = chunk_tokens();
  at::Tensor rows = at::full({chunks, room + 2}, part.pad, at::kLong);
  auto* values = rows.mutable_data_ptr<int64_t>();
  for (int64_t chunk = 0; chunk < chunks; ++chunk, values += room + 2) {
    const auto total = static_cast<int64_t>(ids.size()), begin = std::min(chunk * room, total), end = std::min(begin + room, total);
    values[0] = part.start;
    std::copy(ids.begin() + begin, ids.begin() + end, values + 1);
    values[1 + end - begin] = part.end;
  }
  return rows;
}

TextConditions PromptEncoder::encode(const std::string& prompt, int64_t chunks) const {
  refuse_long(prompt);
  const at::NoGradGuard no_grad;
  TextConditions out;
  std::vector<at::Tensor> states;
  const bool xl = parts_.size() == 2;
  for (const Part& part : parts_) {
    const bool pool = xl && &part == &parts_.back();
    const at::Tensor rows = chunked(part, ids_of(part, prompt), chunks).to(part.model->parameters().front().device());
    const auto [found, pooled] = part.model->forward(rows, options_.clip_skip + (xl ? 1 : 0), /*final_norm=*/!xl, pool);
    states.push_back(found.reshape({1, -1, found.size(2)}));
    if (pool) out.pooled = pooled.slice(0, 0, 1);
  }
  out.states = at::cat(states, 2);
  return out;
}

Conditions PromptEncoder::encode(const std::string& prompt, const std::string& negative) const {
  const int64_t count = std::max(chunks(prompt), chunks(negative));
  Conditions out{encode(prompt, count), {}};
  if (negative.empty() && zeros_for_empty_) {
    out.negative = {at::zeros_like(out.positive.states), at::zeros_like(out.positive.pooled)};
  } else {
    out.negative = encode(negative, count);
  }
  return out;
}

}  // namespace lowrank::generate
