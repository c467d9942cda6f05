#include "lowrank/tensor/load.h"

#include <ATen/ops/empty.h>
#include <cstring>

#include "lowrank/base/error.h"
#include "lowrank/tensor/dtype.h"

namespace lowrank::tensor {

at::Tensor to_tensor(const io::TensorView& view) {
  at::Tensor result = at::empty(view.shape, at::TensorOptions().dtype(to_torch(view.dtype)));
  check(result.nbytes() == view.bytes.size(), ErrorKind::internal, view.name, "expected {} bytes, got {}", result.nbytes(),
        view.bytes.size());
  // Copied, since the file's data need not be aligned for the dtype.
  if (!view.bytes.empty()) std::memcpy(result.data_ptr(), view.bytes.data(), view.bytes.size());
  return result;
}

at::Tensor to_tensor(const io::TensorView& view, io::LdmPart part) {
  const at::Tensor stored = to_tensor(view);
  if (part == io::LdmPart::pointwise) return stored.flatten(1);
  if (part == io::LdmPart::transposed) return stored.t().contiguous();
  if (const int third = io::third_of(part); third >= 0) return stored.chunk(3, 0)[static_cast<size_t>(third)].clone();
  return stored;
}

void save_tensors(const std::filesystem::path& path, const TensorMap& tensors, const io::Metadata& metadata) {
  std::vector<at::Tensor> alive;
  std::vector<io::TensorOut> out;
  for (const auto& [name, value] : tensors) {
    alive.push_back(value.detach().cpu().contiguous());
    const at::Tensor& stored = alive.back();
    out.push_back({name,
                   to_io(stored.scalar_type()),
                   stored.sizes().vec(),
                   {static_cast<const std::byte*>(stored.const_data_ptr()), stored.nbytes()}});
  }
  io::write_safetensors(path, std::move(out), metadata);
}

TensorMap load_tensors(const std::filesystem::path& path) {
  const io::TensorFile file = io::TensorFile::open(path);
  TensorMap result;
  for (const auto& view : file.tensors()) result.emplace(view.name, to_tensor(view));
  return result;
}

std::string shape_text(at::IntArrayRef shape) { return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", ")); }

}  // namespace lowrank::tensor
