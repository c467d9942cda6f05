// A BERT of 2 layers × 16 in a folder, and data that it can learn in seconds: the class is which of three marker tokens
// stands somewhere in the text.
#pragma once

#include <filesystem>
#include <string>

#include "support/device.h"

#include "lowrank/base/file.h"
#include "lowrank/base/json.h"
#include "lowrank/base/random.h"
#include "lowrank/data/dataset.h"
#include "lowrank/tensor/load.h"
#include "lowrank/tensor/random.h"
#include "lowrank/train/request.h"

namespace lowrank::test {

constexpr int64_t kToyWidth = 16, kToyInner = 32, kToyVocabulary = 40, kToyPositions = 24, kToyLayers = 2;

inline void write_toy_model(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  const Json config = {{"architectures", {"BertModel"}},
                       {"model_type", "bert"},
                       {"vocab_size", kToyVocabulary},
                       {"hidden_size", kToyWidth},
                       {"num_hidden_layers", kToyLayers},
                       {"num_attention_heads", 2},
                       {"intermediate_size", kToyInner},
                       {"hidden_act", "gelu"},
                       {"max_position_embeddings", kToyPositions},
                       {"type_vocab_size", 2},
                       {"layer_norm_eps", 1e-12},
                       {"pad_token_id", 0},
                       {"initializer_range", 0.02}};
  write_file_atomic(folder / "config.json", format_json(config));
  tensor::TensorMap tensors;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape, double mean, double deviation) {
    at::Tensor value = at::empty(shape, at::kFloat);
    tensor::fill_normal_(value, mean, deviation, RandomStream(1, name));
    tensors.emplace(name, value);
  };
  const auto linear = [&](const std::string& name, int64_t in, int64_t out) {
    add(name + ".weight", {out, in}, 0, 1.0 / std::sqrt(static_cast<double>(in)));
    add(name + ".bias", {out}, 0, 0.02);
  };
  const auto norm = [&](const std::string& name) {
    add(name + ".weight", {kToyWidth}, 1, 0.02);
    add(name + ".bias", {kToyWidth}, 0, 0.02);
  };
  add("embeddings.word_embeddings.weight", {kToyVocabulary, kToyWidth}, 0, 0.5);
  add("embeddings.position_embeddings.weight", {kToyPositions, kToyWidth}, 0, 0.1);
  add("embeddings.token_type_embeddings.weight", {2, kToyWidth}, 0, 0.1);
  norm("embeddings.LayerNorm");
  for (int64_t layer = 0; layer < kToyLayers; ++layer) {
    const std::string prefix = fmt::format("encoder.layer.{}.", layer);
    for (const char* name : {"attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"}) {
      linear(prefix + name, kToyWidth, kToyWidth);
    }
    linear(prefix + "intermediate.dense", kToyWidth, kToyInner);
    linear(prefix + "output.dense", kToyInner, kToyWidth);
    norm(prefix + "attention.output.LayerNorm");
    norm(prefix + "output.LayerNorm");
  }
  linear("pooler.dense", kToyWidth, kToyWidth);
  tensor::save_tensors(folder / "model.safetensors", tensors, {{"format", "pt"}});
}

/// A [CLS] (token 4) and 3 to 14 tokens from 8 up, one of which is replaced by the class's marker 1, 2 or 3.
inline std::vector<int32_t> toy_text(RandomStream& stream, int64_t label) {
  std::vector<int32_t> ids = {4};
  const uint64_t length = 3 + stream.below(12);
  for (uint64_t i = 0; i < length; ++i) ids.push_back(static_cast<int32_t>(8 + stream.below(kToyVocabulary - 8)));
  ids[1 + stream.below(length)] = static_cast<int32_t>(1 + label);
  return ids;
}

inline data::Dataset toy_dataset(data::Task task, int64_t rows, int64_t first_id) {
  data::Dataset dataset{.task = task, .classes = task == data::Task::single_label || task == data::Task::multi_label ? 3 : 0};
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t id = first_id + i, label = id % 3;
    RandomStream stream(5, "toy", 0, static_cast<uint64_t>(id));
    data::Example example{.ids = toy_text(stream, label), .id = id};
    if (dataset.classes > 0) example.labels = {label};
    if (task == data::Task::multi_label && id % 2 == 0) example.labels = {};
    if (task == data::Task::regression) example.value = static_cast<float>(label) - 1;
    if (task == data::Task::embedding) {
      const int64_t other = i % 2 == 0 ? label : (label + 1) % 3;
      example.pair_ids = toy_text(stream, other);
      example.value = label == other ? 0.9F : 0.1F;
    }
    dataset.examples.push_back(std::move(example));
  }
  return dataset;
}

inline data::Split toy_split(data::Task task = data::Task::single_label, int64_t rows = 60) {
  data::Split split{
      .train = toy_dataset(task, rows, 0), .validation = toy_dataset(task, 24, rows), .test = toy_dataset(task, 24, rows + 24)};
  if (split.train.classes > 0) split.labels.names = {"one", "two", "three"};
  split.report.task = task;
  split.report.max_length = kToyPositions;
  return split;
}

inline train::TrainRequest toy_request(const std::filesystem::path& model, const data::Split& split, const std::string& method = "lora") {
  train::TrainRequest request{.model = model, .split = &split, .method = method};
  if (method != "none" && method != "full") {
    request.adapter = adapters::make_config(method);
    request.adapter->rank = 4;
    request.adapter->alpha = 8;
  }
  request.options = {.learning_rate = 0.01, .epochs = 4, .batch_size = 8, .dtype = "float32", .device = test_device_name()};
  return request;
}

}  // namespace lowrank::test
