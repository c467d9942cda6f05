#include "lowrank/models/weights.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/sum.h>

#include "lowrank/base/log.h"
#include "lowrank/base/pages.h"
#include "lowrank/nn/host.h"

namespace lowrank::models {

namespace {

using io::LdmPart, io::third_of;

bool is_float(io::DType dtype) {
  return dtype == io::DType::f64 || dtype == io::DType::f32 || dtype == io::DType::f16 || dtype == io::DType::bf16;
}

bool is_finite(const at::Tensor& tensor) {
  // A finite sum proves it in one pass; a sum that overflows does not disprove it.
  return std::isfinite(at::sum(tensor).item<double>()) || at::isfinite(tensor).all().item<bool>();
}

/// The shape of the stored tensor that holds a parameter of this shape.
std::vector<int64_t> stored_shape(std::vector<int64_t> shape, LdmPart part) {
  if (part == LdmPart::pointwise) shape.insert(shape.end(), {1, 1});
  if (part == LdmPart::transposed) std::swap(shape.front(), shape.back());
  if (third_of(part) >= 0) shape.front() *= 3;
  return shape;
}

}  // namespace

std::optional<std::string> put(at::Tensor& parameter, const io::TensorView& view, Storage storage, LdmPart part) {
  const auto shape = stored_shape(parameter.sizes().vec(), part);
  // Early autoencoders hold 1×1 convolutions as matrices and the other way round: the same numbers.
  const bool same_numbers = part == LdmPart::pointwise && view.shape == parameter.sizes().vec();
  if (view.shape != shape && !same_numbers) {
    return fmt::format("tensor '{}': expected shape {}, got {}", view.name, tensor::shape_text(shape), tensor::shape_text(view.shape));
  }
  if (!is_float(view.dtype)) {
    return fmt::format("tensor '{}': expected F64, F32, F16 or BF16, got {}", view.name, io::to_string(view.dtype));
  }
  const at::Tensor stored = tensor::mapped_tensor(view, part);
  const bool finite = is_finite(stored);
  // One copy, in its last layout: holes that other sizes leave behind are not filled again.
  if (finite) parameter.set_data(stored.to(stored.options().dtype(storage.dtype), /*non_blocking=*/false, /*copy=*/true, storage.layout));
  release_pages(view.bytes);  // or the file and the model would be in memory at once
  if (!finite) return fmt::format("tensor '{}' holds NaN or infinity", view.name);
  return std::nullopt;
}

void refuse_unmerged(const torch::nn::Module& model) {
  for (const auto& entry : model.named_modules("", /*include_self=*/false)) {
    const auto* host = dynamic_cast<const nn::Host*>(entry.value().get());
    check(host == nullptr || host->adapters().empty() || host->is_merged(), ErrorKind::invalid_argument, "save",
          "'{}' has an adapter that is not merged and would be lost: merge it, or detach it", entry.key());
  }
}

StoredTensors::StoredTensors(const io::TensorFile& file, const std::function<std::string(const std::string&)>& key_of)
    : path_(file.path().string()), problems_(ErrorKind::file_format, path_) {
  std::vector<std::string> unread;
  for (const auto& view : file.tensors()) {
    const std::string key = key_of(view.name);
    if (key.empty()) {
      unread.push_back(view.name);
      continue;
    }
    const auto [other, added] = stored_.emplace(key, Stored{&view});
    if (!added) problems_.add(fmt::format("'{}' and '{}' are the same parameter", other->second.view->name, view.name));
  }
  if (unread.empty()) return;
  log(LogLevel::info, "models",
      fmt::format("{}: {} tensors are not needed and left unread, the first is {}", path_, unread.size(), unread.front()));
}

bool StoredTensors::any_with(std::string_view prefix) const {
  const auto first = stored_.lower_bound(prefix);
  return first != stored_.end() && first->first.starts_with(prefix);
}

void StoredTensors::fill(torch::nn::Module& model, const SourceOf& source_of, at::ScalarType dtype) {
  const at::NoGradGuard no_grad;
  std::map<std::string, at::MemoryFormat> layouts;
  for (const auto& [name, host] : nn::hosts_of(model)) layouts[name + ".weight"] = host->layout(dtype);
  for (auto& parameter : model.named_parameters()) {
    const io::LdmTensor source = source_of(parameter.key());
    const auto found = stored_.find(source.name);
    if (found == stored_.end()) {
      problems_.add(fmt::format("tensor '{}' is missing", source.name));
      continue;
    }
    found->second.taken = true;
    const auto layout = layouts.find(parameter.key());
    const Storage storage{dtype, layout == layouts.end() ? at::MemoryFormat::Contiguous : layout->second};
    if (const auto problem = put(parameter.value(), *found->second.view, storage, source.part)) problems_.add(*problem);
  }
}

void StoredTensors::finish() {
  for (const auto& [key, stored] : stored_) {
    if (!stored.taken) problems_.add(fmt::format("tensor '{}' belongs to nothing in this model", stored.view->name));
  }
  problems_.raise_if_any("are the configuration and the weights of the same model, and was the download complete?");
}

void collect(const torch::nn::Module& model, const SourceOf& source_of, tensor::TensorMap& tensors) {
  std::map<std::string, std::vector<at::Tensor>> fused;
  for (const auto& parameter : model.named_parameters()) {
    const io::LdmTensor source = source_of(parameter.key());
    const at::Tensor value = parameter.value().detach();
    if (const int64_t third = third_of(source.part); third >= 0) {
      auto& thirds = fused[source.name];
      thirds.resize(3);
      thirds[static_cast<size_t>(third)] = value;
    } else if (source.part == LdmPart::transposed) {
      tensors[source.name] = value.t().contiguous();
    } else {
      tensors[source.name] = value.view(stored_shape(value.sizes().vec(), source.part));
    }
  }
  for (const auto& [name, thirds] : fused) tensors[name] = at::cat(thirds);
}

}  // namespace lowrank::models
