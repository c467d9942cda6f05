#include "lowrank/train/diffusion/text_states.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
#include <algorithm>

#include "lowrank/base/error.h"
#include "lowrank/base/hash.h"
#include "lowrank/text/tokenizer.h"

namespace lowrank::train {

ClipTokens load_clip_tokens(const std::filesystem::path& folder) {
  const auto tokenizer = std::make_shared<text::Tokenizer>(text::Tokenizer::load(folder));
  tokenizer->set_max_length(0);
  const std::vector<int32_t> empty = tokenizer->encode("").ids;
  check(empty.size() == 2, ErrorKind::unsupported, folder.string(),
        "expected a tokenizer that sets a token at both ends, got {} tokens for ''", empty.size());
  ClipTokens tokens{.begin = empty.front(), .end = empty.back(), .padding = tokenizer->pad_id().value_or(empty.back())};
  tokens.encode = [tokenizer](const std::string& text) {
    const std::vector<int32_t> ids = tokenizer->encode(text).ids;
    return std::vector<int64_t>(ids.begin() + 1, ids.end() - 1);
  };
  return tokens;
}

TextStates::TextStates(const models::Pipeline& pipeline, std::vector<ClipTokens> tokens, const TextOptions& options)
    : encoders_{pipeline.text_encoder},
      xl_(pipeline.is_xl()),
      positions_(pipeline.text_encoder->config().positions),
      tokens_(std::move(tokens)),
      options_(options) {
  if (xl_) encoders_.push_back(pipeline.text_encoder_2);
  for (const auto& encoder : encoders_) {
    widths_.first += encoder->config().width;
    widths_.second = encoder->config().projection;
    check(encoder->config().positions == positions_, ErrorKind::unsupported, "text", "expected text encoders of one length, got {} and {}",
          positions_, encoder->config().positions);
  }
  check(tokens_.size() == encoders_.size(), ErrorKind::invalid_argument, "text", "expected {} tokenizers, got {}", encoders_.size(),
        tokens_.size());
  check(options.windows >= 1, ErrorKind::invalid_argument, "text", "expected at least one window, got {}", options.windows);
  check(!xl_ || options.clip_skip == 0, ErrorKind::invalid_argument, "clip-skip",
        "expected 0 for SDXL, which always leaves out the last layer, got {}", options.clip_skip);
}

int64_t TextStates::count(const std::string& text) const { return static_cast<int64_t>(tokens_.front().encode(text).size()) + 2; }

int64_t TextStates::limit() const { return options_.windows * (positions_ - 2) + 2; }

at::Tensor TextStates::ids(size_t encoder, const std::string& text) const {
  const ClipTokens& tokens = tokens_[encoder];
  const int64_t positions = positions_, inner = positions - 2;
  const std::vector<int64_t> all = tokens.encode(text);
  at::Tensor ids = at::full({options_.windows, positions}, tokens.padding, at::kLong);
  int64_t* row = ids.mutable_data_ptr<int64_t>();
  for (int64_t window = 0; window < options_.windows; ++window, row += positions) {
    const int64_t begin = std::min(window * inner, static_cast<int64_t>(all.size()));
    const int64_t count = std::min(static_cast<int64_t>(all.size()) - begin, inner);
    row[0] = tokens.begin;
    std::copy_n(all.begin() + begin, count, row + 1);
    row[1 + count] = tokens.end;
  }
  return ids;
}

// [B, windows, positions, C] → [B, S, C].
at::Tensor TextStates::joined(const at::Tensor& windows) const {
  const at::Tensor first = windows.select(1, 0).slice(1, 0, 1), last = windows.select(1, -1).slice(1, positions_ - 1);
  return at::cat({first, windows.slice(2, 1, positions_ - 1).flatten(1, 2), last}, 1);
}

TextConditions TextStates::encode(const std::vector<std::string>& texts, const nn::RowKeys* keys) const {
  check(keys == nullptr || options_.windows == 1, ErrorKind::unsupported, "text",
        "expected captions of one window to train a text encoder with dropout, got {} windows", options_.windows);
  const auto b = static_cast<int64_t>(texts.size());
  std::vector<at::Tensor> states;
  TextConditions conditions;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    check(i < encoders_.size(), ErrorKind::internal, "text", "the encoders were let go of");
    std::vector<at::Tensor> rows;
    for (const auto& text : texts) rows.push_back(ids(i, text));
    const at::Tensor batch = at::cat(rows).to(encoders_[i]->parameters().front().device());
    const bool pool = i == 1;
    const auto output = encoders_[i]->forward(batch, xl_ ? 1 : options_.clip_skip, /*final_norm=*/!xl_, pool, keys);
    states.push_back(joined(output.states.view({b, options_.windows, positions_, -1})));
    if (pool) conditions.pooled = output.pooled.view({b, options_.windows, -1}).select(1, 0);
  }
  conditions.states = at::cat(states, -1);
  return conditions;
}

void TextStates::release() {
  key("");  // while there are weights to hash
  encoders_.clear();
}

std::string TextStates::tokens_hash(const std::vector<std::string>& texts) const {
  Sha256 hash;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    for (const auto& text : texts) {
      const at::Tensor rows = ids(i, text);
      hash.update(std::span(static_cast<const std::byte*>(rows.const_data_ptr()), rows.nbytes()));
    }
  }
  return hash.hex();
}

std::string TextStates::key(const std::string& text) {
  if (weights_.empty()) {
    for (const auto& encoder : encoders_) weights_ += weights_hash(*encoder) + encoder->json().dump();
    weights_ = sha256_hex(weights_);
  }
  return sha256_hex(fmt::format("text 1\n{}\n{} {}\n{}\n", weights_, options_.clip_skip, options_.windows, tokens_hash({text})));
}

TextConditions TextStates::cached(const std::vector<std::string>& texts, TensorCache& cache) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> states, pooled;
  for (const auto& text : texts) {
    const auto tensors = cache.get(key(text), [&] {
      const auto [all, one] = encode({text});
      tensor::TensorMap made = {{"states", all.squeeze(0).cpu()}};
      if (one.defined()) made["pooled"] = one.squeeze(0).cpu();
      return made;
    });
    states.push_back(tensors.at("states"));
    if (tensors.contains("pooled")) pooled.push_back(tensors.at("pooled"));
  }
  return {at::stack(states), pooled.empty() ? at::Tensor() : at::stack(pooled)};
}

std::vector<double> time_ids(const data::ImageEntry& entry, bool mirrored) {
  const auto& [bucket, resized, left, top] = entry.placement;
  const int64_t side = mirrored ? resized.width - left - bucket.width : left;
  std::vector<double> ids;
  for (const int64_t value : {entry.size.height, entry.size.width, top, side, bucket.height, bucket.width})
    ids.push_back(static_cast<double>(value));
  return ids;
}

}  // namespace lowrank::train
