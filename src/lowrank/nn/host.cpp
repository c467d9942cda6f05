#include "lowrank/nn/host.h"

#include <ATen/ops/matmul.h>
#include <algorithm>
#include <c10/core/InferenceMode.h>
#include <memory>

#include "lowrank/base/error.h"
#include "lowrank/kernels/rank_projection.h"

namespace lowrank::nn {

std::vector<int64_t> HostShape::kernels(int64_t rows, int64_t channels) const {
  if (!is_convolution()) return {rows, channels};
  return {rows, channels, kernel[0], kernel[1]};
}

std::vector<int64_t> HostShape::pointwise(int64_t rows, int64_t columns) const {
  if (!is_convolution()) return {rows, columns};
  return {rows, columns, 1, 1};
}

std::optional<LowRankForm> Adapter::low_rank(const Host& /*host*/) const { return std::nullopt; }

at::Tensor Adapter::forward(const at::Tensor& x, const at::Tensor& y0, const Host& host, const DropoutSource& /*dropout*/) {
  if (const auto form = low_rank(host)) {
    const at::Tensor y = host.add_expanded(y0, host.project(x, form->A), form->B, form->scale);
    return form->gain.defined() ? host.scale_outputs(y, form->gain) : y;
  }
  return host.multiply(x, apply_to_weight(host.matrix()).to(y0.scalar_type()));
}

at::Tensor Host::project_weight(const at::Tensor& m) const {
  const bool is_known = known_.of.defined() && known_.of.const_data_ptr() == m.const_data_ptr() && known_.of.sizes() == m.sizes();
  return is_known ? known_.value : projected_weight(m);
}

at::Tensor Host::projected_weight(const at::Tensor& m) const { return kernels::wide_projection(matrix(), m); }

std::pair<std::optional<LowRankForm>, at::Tensor> Host::form_of(const Adapter& adapter, const at::Tensor& x) {
  const at::Tensor due = c10::InferenceMode::is_enabled() ? at::Tensor() : adapter.due_projection(*this);
  const auto both = due.defined() ? multiply_and_project(x, due) : std::nullopt;
  if (!both) return {adapter.low_rank(*this), {}};
  const std::unique_ptr<Projection, void (*)(Projection*)> until_known(&known_, [](Projection* known) { *known = {}; });
  known_ = {due, both->projected};
  return {adapter.low_rank(*this), both->product};
}

at::Tensor Host::scale_outputs(const at::Tensor& y, const at::Tensor& gain) const {
  const at::Tensor same = gain.to(y.scalar_type());
  if (gain.dim() == 1) return y * same;
  return (y.reshape({gain.size(0), -1, y.size(-1)}) * same.unsqueeze(1)).view(y.sizes());
}

at::Tensor Host::forward(const at::Tensor& x, const RowKeys* keys) {
  if (adapters_.empty() || is_merged()) return base(x, bias_);
  if (adapters_.size() == 1) {
    const Adapter& only = *adapters_.front().second;
    if (keys == nullptr || !only.has_dropout()) {
      if (const auto [form, product] = form_of(only, x); form) {
        if (auto y = fused(x, *form, product)) return *y;
      }
    }
  }
  at::Tensor y = base(x, {});
  for (size_t i = 0; i < adapters_.size(); ++i) y = adapters_[i].second->forward(x, y, *this, {keys, salts_[i]});
  return bias_.defined() ? add_bias(y) : y;
}

void Host::attach(const std::string& name, std::shared_ptr<Adapter> adapter, uint64_t salt) {
  check(!is_merged(), ErrorKind::invalid_argument, "attach", "the layer is merged; unmerge it before attaching '{}'", name);
  bool additive = adapter->is_additive();
  for (const auto& [other, attached] : adapters_) {
    check(other != name, ErrorKind::invalid_argument, "attach", "an adapter named '{}' is attached already", name);
    additive = additive && attached->is_additive();
  }
  check(adapters_.empty() || additive, ErrorKind::invalid_argument, "attach",
        "'{}' cannot share a layer with another adapter: at least one of them is not additive", name);
  adapter->attached(*this);
  adapters_.emplace_back(name, std::move(adapter));
  salts_.push_back(salt);
}

void Host::detach(const std::string& name) {
  const auto found = std::find_if(adapters_.begin(), adapters_.end(), [&](const auto& entry) { return entry.first == name; });
  check(found != adapters_.end(), ErrorKind::invalid_argument, "detach", "no adapter named '{}' is attached", name);
  check(!is_merged(), ErrorKind::invalid_argument, "detach", "the layer is merged; unmerge it before detaching '{}'", name);
  salts_.erase(salts_.begin() + (found - adapters_.begin()));
  adapters_.erase(found);
}

void Host::merge() {
  if (is_merged() || adapters_.empty()) return;
  const at::NoGradGuard no_grad;
  const at::Tensor w = matrix();
  at::Tensor merged = w.to(w.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  for (const auto& [name, adapter] : adapters_) merged = adapter->apply_to_weight(merged);
  original_ = weight_;
  set_weight(weight_from_matrix(merged).to(original_.options()).contiguous(original_.suggest_memory_format()));
}

void Host::unmerge() {
  if (!is_merged()) return;
  set_weight(original_);
  original_ = at::Tensor();
}

void Host::own(at::Tensor weight, at::Tensor bias) {
  weight_ = register_parameter("weight", std::move(weight), /*requires_grad=*/false);
  if (bias.defined()) bias_ = register_parameter("bias", std::move(bias), /*requires_grad=*/false);
}

void Host::set_weight(const at::Tensor& weight) { parameters_["weight"] = weight_ = weight; }

void Host::set_bias(const at::Tensor& bias) { parameters_["bias"] = bias_ = bias; }

std::vector<std::pair<std::string, Host*>> hosts_of(torch::nn::Module& root) {
  std::vector<std::pair<std::string, Host*>> found;
  for (const auto& entry : root.named_modules("", /*include_self=*/false)) {
    if (auto* host = dynamic_cast<Host*>(entry.value().get())) found.emplace_back(entry.key(), host);
  }
  return found;
}

}  // namespace lowrank::nn
