// The golden folders of tools/golden/models.py, and what tests of models share.
#pragma once

#include <filesystem>
#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "support/device.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"

#include "lowrank/base/file.h"
#include "lowrank/base/json.h"
#include "lowrank/base/log.h"
#include "lowrank/models/text_model.h"
#include "lowrank/tensor/load.h"

namespace lowrank::models {

namespace fs = std::filesystem;

inline fs::path golden(const std::string& name) { return fs::path(LOWRANK_SOURCE_DIR) / "tests/golden/models" / name; }

/// On the tests' device.
inline nn::Packed on_device(nn::Packed batch) {
  for (at::Tensor* part : {&batch.ids, &batch.positions, &batch.type_ids}) *part = part->to(test::test_device());
  return batch;
}
template <class SomeModel>
std::unique_ptr<SomeModel> on_device(std::unique_ptr<SomeModel> model) {
  model->to(test::test_device());
  return model;
}

/// The packed batch of an expected.safetensors.
inline nn::Packed batch_of(const tensor::TensorMap& expected) {
  const at::Tensor offsets = expected.at("offsets");
  std::vector<std::vector<int64_t>> ids, types;
  const auto slice = [&](const at::Tensor& all, int64_t b) {
    const int64_t* first = all.const_data_ptr<int64_t>();
    return std::vector<int64_t>(first + offsets[b].item<int64_t>(), first + offsets[b + 1].item<int64_t>());
  };
  for (int64_t b = 0; b + 1 < offsets.size(0); ++b) {
    ids.push_back(slice(expected.at("ids"), b));
    if (expected.contains("type_ids")) types.push_back(slice(expected.at("type_ids"), b));
  }
  return on_device(nn::pack(ids, types));
}

/// max|actual − expected| over the larger of max|expected| and `floor`.
inline double difference(const at::Tensor& actual, const at::Tensor& expected, double floor = 1e-30) {
  if (actual.sizes() != expected.sizes()) return std::numeric_limits<double>::infinity();
  const double error = (actual.to(at::kCPU, at::kDouble) - expected.to(at::kCPU, at::kDouble)).abs().max().item<double>();
  return error / std::max(expected.abs().max().item<double>(), floor);
}

/// The parameter whose gradient sets the scale for comparing that of `name`: itself, but the weight for a key
/// projection's bias, whose gradient is exactly 0 (softmax ignores what all keys share), so that both sides hold
/// rounding noise only.
inline std::string scale_of(const std::string& name) {
  for (const std::string_view key : {"key.bias", "k_lin.bias"}) {
    if (name.ends_with(key)) return name.substr(0, name.size() - 4) + "weight";
  }
  return name;
}

/// transformers' loss for a problem_type.
inline at::Tensor loss_of(const at::Tensor& logits, const at::Tensor& stored, HeadKind kind) {
  const at::Tensor labels = stored.to(logits.device());
  if (kind == HeadKind::regression) return at::mse_loss(logits.squeeze(1), labels);
  if (kind == HeadKind::multi_label) return at::binary_cross_entropy_with_logits(logits, labels);
  return at::cross_entropy_loss(logits, labels);
}

/// Collects what the library logs while it lives.
class LogCapture {
 public:
  LogCapture() {
    set_log_sink([this](LogLevel level, std::string_view, std::string_view text) {
      (level == LogLevel::warning ? warnings : notices) += std::string(text) + "\n";
    });
  }
  ~LogCapture() { set_log_sink({}); }
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;

  std::string warnings, notices;
};

/// A copy of a golden folder that a test may change.
class Checkpoint {
 public:
  explicit Checkpoint(const std::string& name)
      : config(read_json(golden(name) / "config.json")), tensors(tensor::load_tensors(golden(name) / "model.safetensors")) {}

  /// The folder with config and tensors as they are now.
  fs::path write() const {
    write_file_atomic(folder_ / "config.json", format_json(config));
    tensor::save_tensors(folder_ / "model.safetensors", tensors, {{"format", "pt"}});
    return folder_.path();
  }
  /// Renames every tensor; an empty new name drops it.
  template <class Rename>
  void rename(Rename&& rename) {
    tensor::TensorMap renamed;
    for (const auto& [name, value] : tensors) {
      if (const std::string other = rename(name); !other.empty()) renamed.emplace(other, value);
    }
    tensors = renamed;
  }

  Json config;
  tensor::TensorMap tensors;

 private:
  test::TempDir folder_;
};

}  // namespace lowrank::models
