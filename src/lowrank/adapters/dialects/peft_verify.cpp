// The independent read-back. What is here must not use the adapter classes: it says the formulas once more, from the
// file.
#include <ATen/ops/einsum.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/kron.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mm.h>
#include <cmath>

#include "lowrank/adapters/dialects/peft.h"
#include "lowrank/adapters/pattern.h"
#include "lowrank/base/error.h"
#include "lowrank/base/json.h"

namespace lowrank::adapters {

namespace {

constexpr double kLargestDifference = 1e-5;

/// Reads one module's tensors and numbers from the file as PEFT would.
class RawModule {
 public:
  RawModule(const Json& config, const tensor::TensorMap& tensors, const std::string& module)
      : config_(config), tensors_(tensors), module_(module) {}

  /// The tensor in float64, kernels as rows of a matrix; undefined when the file has none of that name.
  at::Tensor get(const std::string& suffix) const {
    const auto found = tensors_.find("base_model.model." + module_ + "." + suffix);
    if (found == tensors_.end()) return {};
    const at::Tensor value = found->second.to(at::kDouble);
    return value.dim() > 2 ? value.flatten(1) : value;
  }

  double number(const std::string& key, const std::string& pattern_key) const {
    for (const auto& [pattern, value] : config_.at(pattern_key).items()) {
      if (suffix_pattern(pattern, pattern_key).matches(module_)) return value.get<double>();
    }
    return config_.at(key).get<double>();
  }

  bool flag(const char* key) const { return config_.at(key).get<bool>(); }

 private:
  const Json& config_;
  const tensor::TensorMap& tensors_;
  const std::string& module_;
};

at::Tensor lora_weight(const RawModule& raw, const at::Tensor& w) {
  const bool embedding = raw.get("lora_embedding_A").defined();
  const at::Tensor A = raw.get(embedding ? "lora_embedding_A" : "lora_A.weight");
  const at::Tensor B = raw.get(embedding ? "lora_embedding_B" : "lora_B.weight");
  const auto rank = static_cast<double>(A.size(0));
  const double scale = raw.number("lora_alpha", "alpha_pattern") / (raw.flag("use_rslora") ? std::sqrt(rank) : rank);
  const at::Tensor sum = w + scale * at::mm(B, A);
  if (!raw.flag("use_dora")) return sum;
  return (raw.get("lora_magnitude_vector").flatten() / at::linalg_vector_norm(sum, 2, {1})).unsqueeze(1) * sum;
}

at::Tensor lokr_weight(const RawModule& raw, const at::Tensor& w) {
  const auto factor = [&](const std::string& name) {
    const at::Tensor whole = raw.get(name), core = raw.get("lokr_t2");
    if (whole.defined()) return whole;
    const at::Tensor a = raw.get(name + "_a"), b = raw.get(name + "_b");
    if (name == "lokr_w1" || !core.defined()) return at::mm(a, b);
    const at::Tensor kernels = core.view({a.size(0), b.size(0), -1});  // [R, R, kh·kw]
    return at::einsum("pqt,po,qi->oit", {kernels, a, b}).flatten(1);
  };
  const double scale = raw.number("alpha", "alpha_pattern") / raw.number("r", "rank_pattern");
  return w + scale * at::kron(factor("lokr_w1"), factor("lokr_w2"));
}

at::Tensor weight_from_file(const Json& config, const tensor::TensorMap& tensors, const std::string& module, const at::Tensor& w) {
  const RawModule raw(config, tensors, module);
  const auto type = config.at("peft_type").get<std::string>();
  if (type == "LORA") return lora_weight(raw, w);
  if (type == "LOKR") return lokr_weight(raw, w);
  fail(ErrorKind::internal, "verify_peft", fmt::format("no formula for peft_type {}", type));
}

double difference(const Attached& entry, const Json& config, const tensor::TensorMap& tensors) {
  check(!entry.host->is_merged(), ErrorKind::invalid_argument, "verify_peft", "'{}' is merged; unmerge it first", entry.module);
  const at::Tensor w = entry.host->matrix().cpu().to(at::kDouble);
  const double k = entry.adapter->multiplier();
  const at::Tensor stored = k * (weight_from_file(config, tensors, entry.module, w) - w);
  const at::Tensor live = entry.adapter->apply_to_weight(entry.host->matrix().to(at::kDouble)).cpu() - w;
  const double size = stored.abs().max().item<double>(), gap = (stored - live).abs().max().item<double>();
  return gap == 0 ? 0.0 : gap / size;  // infinite when the file says zero and the adapter does not
}

void check_equal(const tensor::TensorMap& tensors, const std::string& key, const at::Tensor& live) {
  const auto found = tensors.find("base_model.model." + key);
  check(found != tensors.end() && at::equal(found->second, live.detach().cpu()), ErrorKind::internal, "verify_peft",
        "'{}' in the file is not what is in memory", key);
}

}  // namespace

double verify_peft(const std::filesystem::path& folder, const AdapterSet& set, const tensor::TensorMap& heads) {
  const at::NoGradGuard no_grad;
  const Json config = read_json(folder / "adapter_config.json");
  const tensor::TensorMap tensors = tensor::load_tensors(folder / "adapter_model.safetensors");
  double largest = 0;
  for (const auto& entry : set.modules) {
    const double now = difference(entry, config, tensors);
    check(now <= kLargestDifference, ErrorKind::internal, "verify_peft", "'{}' in the file differs from memory by {:.2e} of its size",
          entry.module, now);
    largest = std::max(largest, now);
  }
  for (const auto& [name, bias] : set.biases) {
    const std::string wrapped = name.substr(0, name.size() - 4) + "base_layer.bias";
    check_equal(tensors, tensors.contains("base_model.model." + wrapped) ? wrapped : name, bias);
  }
  for (const auto& [name, value] : heads) check_equal(tensors, name, value);
  return largest;
}

}  // namespace lowrank::adapters
