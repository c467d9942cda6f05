#include <ATen/ops/segment_reduce.h>
#include <ATen/ops/tensor.h>
#include <set>

#include "lowrank/base/error.h"
#include "lowrank/models/text_model.h"

namespace lowrank::models {

namespace fs = std::filesystem;

namespace {

at::Tensor sequence_means(const at::Tensor& states, const nn::Packed& batch) {
  std::vector<int64_t> lengths;
  for (size_t b = 0; b + 1 < batch.offsets.size(); ++b) lengths.push_back(batch.offsets[b + 1] - batch.offsets[b]);
  const at::Tensor counts = at::tensor(lengths, at::kLong).to(states.device());
  return at::segment_reduce(states, "mean", counts, /*indices=*/{}, /*offsets=*/{}, /*axis=*/0, /*unsafe=*/true);
}

/// The one pooling that 1_Pooling/config.json names, in its present ("pooling_mode") or former (a flag a mode)
/// spelling.
Pooling read_pooling(const fs::path& path) {
  const std::string where = path.string();
  const Json config = read_json(path);
  check(config.is_object(), ErrorKind::file_format, where, "expected an object");
  std::vector<std::string> modes;
  for (const auto& [key, value] : config.items()) {
    if (key == "pooling_mode") {
      modes = value.is_array() ? json_get<std::vector<std::string>>(config, "pooling_mode", {}, where)
                               : std::vector{json_get<std::string>(config, "pooling_mode", "", where)};
    } else if (key.starts_with("pooling_mode_")) {
      if (json_get<bool>(config, key.c_str(), false, where)) modes.push_back(key.substr(sizeof("pooling_mode_") - 1));
    } else {
      check(key == "word_embedding_dimension" || key == "embedding_dimension" || key == "include_prompt", ErrorKind::unsupported, where,
            "unknown key '{}'", key);
    }
  }
  check(modes.size() == 1, ErrorKind::unsupported, where, "expected one pooling mode, got {}", modes.size());
  if (modes.front() == "mean" || modes.front() == "mean_tokens") return Pooling::mean;
  if (modes.front() == "cls" || modes.front() == "cls_token") return Pooling::cls;
  fail(ErrorKind::unsupported, where, fmt::format("expected pooling mean or cls, got '{}'", modes.front()));
}

}  // namespace

at::Tensor embed(TextModel& model, const nn::Packed& batch, Pooling pooling, bool normalise) {
  at::Tensor states = model.encode(batch, /*first_token_only=*/pooling == Pooling::cls);
  if (states.scalar_type() != at::kDouble) states = states.to(at::kFloat);
  const at::Tensor pooled = pooling == Pooling::cls ? states : sequence_means(states, batch);
  return normalise ? pooled / pooled.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12) : pooled;
}

std::pair<Pooling, bool> stored_pooling(const fs::path& folder) {
  const fs::path path = folder / "modules.json";
  if (!fs::exists(path)) return {Pooling::mean, true};
  const std::string where = path.string();
  const Json modules = read_json(path);
  check(modules.is_array(), ErrorKind::file_format, where, "expected a list of modules");
  std::optional<Pooling> pooling;
  bool normalise = false;
  for (const Json& module : modules) {
    const auto type = json_get<std::string>(module, "type", "", where);
    const std::string name = type.substr(type.rfind('.') + 1);
    if (name == "Pooling") {
      pooling = read_pooling(folder / json_get<std::string>(module, "path", "", where) / "config.json");
    } else if (name == "Normalize") {
      normalise = true;
    } else {
      check(name == "Transformer", ErrorKind::unsupported, where, "expected modules Transformer, Pooling and Normalize, got '{}'", type);
    }
  }
  check(pooling.has_value(), ErrorKind::file_format, where, "expected a Pooling module, got none");
  const fs::path sentence = folder / "sentence_bert_config.json";
  if (fs::exists(sentence)) {
    check(!json_get<bool>(read_json(sentence), "do_lower_case", false, sentence.string()), ErrorKind::unsupported, sentence.string(),
          "key 'do_lower_case': expected false (lower-casing belongs to the tokenizer), got true");
  }
  return {*pooling, normalise};
}

std::optional<int64_t> stored_max_length(const fs::path& folder) {
  const fs::path path = folder / "sentence_bert_config.json";
  if (!fs::exists(path)) return std::nullopt;
  const auto length = json_get<int64_t>(read_json(path), "max_seq_length", 0, path.string());
  return length > 0 ? std::optional(length) : std::nullopt;
}

}  // namespace lowrank::models
