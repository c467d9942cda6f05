// Between tensors in files and tensors in memory.
#pragma once

#include <ATen/core/Tensor.h>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lowrank/io/names/ldm.h"
#include "lowrank/io/tensor_file.h"

namespace lowrank::tensor {

/// A CPU copy of the stored tensor; dtype and shape as stored.
at::Tensor to_tensor(const io::TensorView& view);
/// A CPU copy of what of it a parameter of a diffusers model is.
at::Tensor to_tensor(const io::TensorView& view, io::LdmPart part);
/// That part where it lies in the file's map: not to be written to, and there as long as the file is open.
at::Tensor mapped_tensor(const io::TensorView& view, io::LdmPart part);

/// Named tensors, sorted by name.
using TensorMap = std::map<std::string, at::Tensor>;

/// Writes all tensors (moved to the CPU, made contiguous, dtype kept) atomically as safetensors.
void save_tensors(const std::filesystem::path& path, const TensorMap& tensors, const io::Metadata& metadata);

/// Copies every tensor of `path` into memory.
TensorMap load_tensors(const std::filesystem::path& path);

/// "[2, 3]".
std::string shape_text(at::IntArrayRef shape);

}  // namespace lowrank::tensor
