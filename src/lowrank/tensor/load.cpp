#include "lowrank/tensor/load.h"

#include <ATen/ops/from_blob.h>

#include "lowrank/base/error.h"
#include "lowrank/tensor/dtype.h"

namespace lowrank::tensor {

at::Tensor to_tensor(const io::TensorView& view) { return to_tensor(view, io::LdmPart::whole); }

at::Tensor to_tensor(const io::TensorView& view, io::LdmPart part) { return mapped_tensor(view, part).clone(at::MemoryFormat::Contiguous); }

at::Tensor mapped_tensor(const io::TensorView& view, io::LdmPart part) {
  const auto options = at::TensorOptions().dtype(to_torch(view.dtype));
  const at::Tensor stored = at::from_blob(const_cast<std::byte*>(view.bytes.data()), view.shape, options);
  check(stored.nbytes() == view.bytes.size(), ErrorKind::internal, view.name, "expected {} bytes, got {}", stored.nbytes(),
        view.bytes.size());
  if (part == io::LdmPart::pointwise) return stored.flatten(1);
  if (part == io::LdmPart::transposed) return stored.t();
  if (const int third = io::third_of(part); third >= 0) return stored.chunk(3, 0)[static_cast<size_t>(third)];
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
