#include "lowrank/models/config_reader.h"

#include <algorithm>
#include <vector>

#include "lowrank/base/log.h"

namespace lowrank::models {

ConfigReader::ConfigReader(const Json& config, std::string where)
    : config_(config), where_(where), wrong_(ErrorKind::file_format, where), unsupported_(ErrorKind::unsupported, where) {}

void ConfigReader::model_keys() {
  for (const char* key : {"is_decoder", "is_encoder_decoder", "add_cross_attention"}) only(key, false);
  only("position_embedding_type", "absolute");
  only("pruned_heads", Json::object());
  for (const char* key : {"quantization_config", "auto_map", "cross_attention_hidden_size"}) only(key, Json());
  harmless({"model_type", "architectures", "_name_or_path", "transformers_version", "torch_dtype", "dtype"});
  harmless({"problem_type", "id2label", "label2id", "num_labels", "_num_labels", "finetuning_task"});
  harmless({"pad_token_id", "bos_token_id", "eos_token_id", "tie_word_embeddings", "initializer_range"});
  harmless({"use_cache", "gradient_checkpointing", "chunk_size_feed_forward", "classifier_dropout", "torchscript"});
  harmless({"output_attentions", "output_hidden_states", "output_past", "return_dict"});
}

const Json* ConfigReader::value(const char* key) {
  known_.insert(key);
  const auto found = config_.find(key);
  return found == config_.end() || found->is_null() ? nullptr : &*found;
}

int64_t ConfigReader::size(const char* key) {
  const Json* found = value(key);
  if (found != nullptr && found->is_number_integer() && found->get<int64_t>() > 0) return found->get<int64_t>();
  wrong_.add(fmt::format("key '{}': expected a positive integer, got {}", key, found == nullptr ? "nothing" : found->dump()));
  return 1;
}

int64_t ConfigReader::integer(const char* key, int64_t fallback) {
  const Json* found = value(key);
  if (found == nullptr) return fallback;
  if (found->is_number_integer() && found->get<int64_t>() >= 0) return found->get<int64_t>();
  wrong_.add(fmt::format("key '{}': expected an integer of at least 0, got {}", key, found->dump()));
  return fallback;
}

double ConfigReader::number(const char* key, double fallback) {
  const Json* found = value(key);
  if (found == nullptr) return fallback;
  if (found->is_number()) return found->get<double>();
  wrong_.add(fmt::format("key '{}': expected a number, got {}", key, found->dump()));
  return fallback;
}

bool ConfigReader::flag(const char* key, bool fallback) {
  const Json* found = value(key);
  if (found == nullptr) return fallback;
  if (found->is_boolean()) return found->get<bool>();
  wrong_.add(fmt::format("key '{}': expected true or false, got {}", key, found->dump()));
  return fallback;
}

std::array<double, 3> ConfigReader::three_numbers(const char* key, const std::array<double, 3>& fallback) {
  const Json* found = value(key);
  if (found == nullptr) return fallback;
  if (found->is_array() && found->size() == 3 && std::ranges::all_of(*found, [](const Json& one) { return one.is_number(); })) {
    return found->get<std::array<double, 3>>();
  }
  wrong_.add(fmt::format("key '{}': expected three numbers, got {}", key, found->dump()));
  return fallback;
}

std::array<int64_t, 2> ConfigReader::extent(const char* key) {
  const Json* found = value(key);
  std::array<Json, 2> sides;
  if (found != nullptr && found->is_number_integer()) {
    sides = {*found, *found};
  } else if (found != nullptr && found->is_array() && found->size() == 2) {
    sides = {(*found)[0], (*found)[1]};
  } else if (found != nullptr && found->is_object() && found->size() == 2) {
    sides = {found->value("height", Json()), found->value("width", Json())};
  }
  const auto is_size = [](const Json& side) { return side.is_number_integer() && side.get<int64_t>() > 0; };
  if (is_size(sides[0]) && is_size(sides[1])) return {sides[0].get<int64_t>(), sides[1].get<int64_t>()};
  wrong_.add(
      fmt::format("key '{}': expected a height and a width of at least 1, got {}", key, found == nullptr ? "nothing" : found->dump()));
  return {1, 1};
}

Activation ConfigReader::activation(const char* key) {
  const Json* found = value(key);
  if (found == nullptr || !found->is_string()) {
    wrong_.add(fmt::format("key '{}': expected the name of an activation, got {}", key, found == nullptr ? "nothing" : found->dump()));
    return nullptr;
  }
  const Activation activation = find_activation(found->get<std::string>());
  if (activation == nullptr) {
    unsupported_.add(fmt::format("key '{}': expected one of {}, got {}", key, activation_names(), found->dump()));
  }
  return activation;
}

void ConfigReader::only(const char* key, const Json& honoured) {
  const Json* found = value(key);
  if (found == nullptr || *found == honoured) return;
  unsupported_.add(fmt::format("key '{}': expected {}, got {}", key, honoured.is_null() ? "none" : honoured.dump(), found->dump()));
}

void ConfigReader::harmless(std::initializer_list<std::string_view> keys) { known_.insert(keys.begin(), keys.end()); }

void ConfigReader::finish() {
  wrong_.raise_if_any("is this the config.json of the model in this folder?");
  unsupported_.raise_if_any("a model that needs this setting cannot be run here");
  std::vector<std::string> unknown;
  for (const auto& [key, found] : config_.items()) {
    if (!known_.contains(key)) unknown.push_back(key);
  }
  if (!unknown.empty()) {
    log(LogLevel::warning, "models", fmt::format("{}: these keys are not known and change nothing: {}", where_, fmt::join(unknown, ", ")));
  }
}

}  // namespace lowrank::models
