// The safetensors container: u64 header length, JSON header, tensor bytes without gaps.
// Source: github.com/huggingface/safetensors, README "Format" and safetensors/src/tensor.rs (v0.8), whose rules are
// followed; docs/formats.md lists where this reader is stricter.
#pragma once

#include <optional>

#include "lowrank/io/format.h"

namespace lowrank::io {

inline constexpr size_t kMaxSafetensorsHeader = 100'000'000;  // MAX_HEADER_SIZE of the reference
inline constexpr size_t kMaxTensorName = 1024;

/// The tensors and metadata of a safetensors file in memory. Throws Error{file_format, unsupported} naming `where`.
Contents parse_safetensors(std::span<const std::byte> file, std::string_view where);

/// Sorts `tensors` as they are to lie in the file and gives everything before their bytes: length and padded header.
std::string safetensors_header(std::vector<TensorOut>& tensors, const Metadata& metadata, std::string_view where);

/// What is wrong with a tensor's name (control characters, not UTF-8, too long, reserved); "" when nothing is.
std::string name_problem(std::string_view name);

/// A name quoted for a message: control characters escaped, long ones cut.
std::string quote(std::string_view name);

/// "F32 [2, 3]"; of more than 8 dimensions the first 8.
std::string describe(DType dtype, std::span<const int64_t> shape);

/// Bytes of a tensor, or nothing when a dimension is negative or the size overflows.
std::optional<int64_t> checked_bytes(DType dtype, std::span<const int64_t> shape);

}  // namespace lowrank::io
