// Tensor containers: read through a map of the file, written whole or not at all.
//
// A container holds named tensors (dtype, shape, little-endian bytes in row-major order) and a string-to-string map.
// Which container a file is, its bytes say and not its name; the formats are listed in formats.def. A set of shards with
// its `*.index.json` is seen as one file. Pickles (.bin, .pt, .ckpt) run code when read, so they are never read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lowrank/base/file.h"

namespace lowrank::io {

enum class DType { f64, f32, f16, bf16, f8_e4m3, f8_e5m2, i64, i32, i16, i8, u64, u32, u16, u8, boolean };
inline constexpr size_t kDTypeCount = 15;

/// The spelling safetensors uses: "F32", "BF16", "F8_E4M3", "BOOL".
std::string_view to_string(DType dtype);
/// Bytes of one element.
size_t byte_size(DType dtype);

/// One tensor of an open file. `bytes` lies in the file's map, aligned to the element size, and lives as long as the file.
struct TensorView {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;  // [] is a scalar; a dimension may be 0
  std::span<const std::byte> bytes;

  int64_t numel() const;
};

using Metadata = std::map<std::string, std::string>;

/// One container file, or a sharded set seen as one. Movable; views stay valid over a move.
class TensorFile {
 public:
  /// `path`: a container file, a `*.index.json`, or a folder with model.safetensors or model.safetensors.index.json (the
  /// single file first). Throws Error{io} when it cannot be read, Error{file_format} when its content breaks the format,
  /// Error{unsupported} for a container or dtype that is not read here.
  static TensorFile open(const std::filesystem::path& path);

  /// Of a sharded set: the keys on which its shards agree; the others are named in a warning.
  const Metadata& metadata() const { return metadata_; }
  /// Sorted by name.
  const std::vector<TensorView>& tensors() const { return tensors_; }
  const TensorView* find(std::string_view name) const;
  /// Throws Error{file_format} with near misses when there is no such tensor.
  const TensorView& at(std::string_view name) const;
  const std::filesystem::path& path() const { return path_; }

 private:
  explicit TensorFile(std::filesystem::path path) : path_(std::move(path)) {}
  void load_container(const std::filesystem::path& file);
  void load_shards();

  std::filesystem::path path_;
  std::vector<std::unique_ptr<MappedFile>> files_;
  Metadata metadata_;
  std::vector<TensorView> tensors_;
};

/// One tensor to write; `bytes` must live until the call returns.
struct TensorOut {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};

/// Writes a safetensors file atomically. Equal content gives equal bytes: tensors in the reference writer's order (by its
/// dtype order, descending, then by name), metadata keys sorted, header padded with spaces to a multiple of 8.
/// Throws Error{invalid_argument} listing every duplicate or unusable name, bad shape and wrong byte count; the target is
/// then untouched.
void write_safetensors(const std::filesystem::path& path, std::vector<TensorOut> tensors, const Metadata& metadata);

}  // namespace lowrank::io
