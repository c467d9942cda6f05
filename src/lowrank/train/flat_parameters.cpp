#include "lowrank/train/flat_parameters.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <set>

#include "lowrank/base/error.h"

namespace lowrank::train {

namespace {

// Each tensor begins on a cache line, whatever the sizes before it.
constexpr int64_t kAlignment = 16;

int64_t padded(int64_t numel) { return (numel + kAlignment - 1) / kAlignment * kAlignment; }

bool is_matrix(const Trainable& parameter) {
  const auto sizes = parameter.tensor.sizes();
  return std::count_if(sizes.begin(), sizes.end(), [](int64_t size) { return size > 1; }) > 1;
}

bool is_wide(const at::Tensor& tensor) { return tensor.scalar_type() == at::kFloat; }

}  // namespace

FlatParameters::FlatParameters(std::vector<Trainable> parameters) {
  std::ranges::stable_sort(parameters, {}, [](const Trainable& parameter) { return std::pair(!is_matrix(parameter), parameter.rate); });
  const auto vectors = std::ranges::find_if_not(parameters, is_matrix);
  int64_t total = 0;
  std::set<const void*> seen;
  for (auto it = parameters.begin(); it != parameters.end(); ++it) {
    check(seen.insert(it->tensor.unsafeGetTensorImpl()).second, ErrorKind::internal, it->name, "expected each tensor once, got it twice");
    check(it->tensor.device() == parameters.front().tensor.device(), ErrorKind::internal, it->name, "expected one device for all");
    if (it == vectors) decayed_ = total;
    const bool decays = it < vectors;
    if (segments_.empty() || segments_.back().rate != it->rate || segments_.back().decays != decays) {
      segments_.push_back({total, total, it->rate, decays});
    }
    total += padded(it->tensor.numel());
    segments_.back().end = total;
  }
  if (vectors == parameters.end()) decayed_ = total;
  const auto device = parameters.empty() ? c10::Device(c10::kCPU) : parameters.front().tensor.device();
  values_ = at::zeros({total}, at::device(device).dtype(at::kFloat));
  gradients_ = at::zeros_like(values_);
  const at::NoGradGuard no_grad;
  int64_t offset = 0;
  for (Trainable& parameter : parameters) {
    at::Tensor& tensor = parameter.tensor;
    const auto part = [&](const at::Tensor& flat) { return flat.narrow(0, offset, tensor.numel()).view(tensor.sizes()); };
    Entry entry{parameter.name, tensor, part(values_), part(gradients_)};
    offset += padded(tensor.numel());
    entry.value.copy_(tensor);
    if (is_wide(tensor)) tensor.set_data(entry.value);
    tensor.requires_grad_(true);
    tensor.mutable_grad() = is_wide(tensor) ? entry.gradient : at::Tensor();
    entries_.push_back(std::move(entry));
  }
}

int64_t FlatParameters::count() const {
  int64_t count = 0;
  for (const Entry& entry : entries_) count += entry.value.numel();
  return count;
}

void FlatParameters::gather() {
  const at::NoGradGuard no_grad;
  for (Entry& entry : entries_) {
    if (is_wide(entry.tensor) || !entry.tensor.grad().defined()) continue;
    entry.gradient.add_(entry.tensor.grad());
    entry.tensor.mutable_grad() = at::Tensor();
  }
}

void FlatParameters::publish() {
  const at::NoGradGuard no_grad;
  for (Entry& entry : entries_) {
    if (!is_wide(entry.tensor)) entry.tensor.copy_(entry.value);
    // Adapters keep what they derive from a tensor until its version changes.
    entry.tensor.unsafeGetTensorImpl()->bump_version();
  }
}

void FlatParameters::assign(const at::Tensor& values) {
  check(values.sizes() == values_.sizes(), ErrorKind::internal, "parameters", "expected {} numbers, got {}", values_.numel(),
        values.numel());
  values_.copy_(values);
  publish();
}

FlatParameters::Widened::Widened(FlatParameters& parameters) {
  for (Entry& entry : parameters.entries_) {
    if (is_wide(entry.tensor)) continue;
    narrow_.emplace_back(entry.tensor, entry.tensor.detach());
    entry.tensor.set_data(entry.value);
  }
}

FlatParameters::Widened::~Widened() {
  for (auto& [tensor, own] : narrow_) tensor.set_data(own);
}

void FlatParameters::release() {
  for (Entry& entry : entries_) {
    entry.tensor.mutable_grad() = at::Tensor();
    entry.tensor.requires_grad_(false);
  }
}

std::string FlatParameters::first_non_finite() const {
  for (const Entry& entry : entries_) {
    if (!at::isfinite(entry.gradient).all().item<bool>()) return fmt::format("gradient of '{}'", entry.name);
    if (!at::isfinite(entry.value).all().item<bool>()) return fmt::format("value of '{}'", entry.name);
  }
  return {};
}

}  // namespace lowrank::train
