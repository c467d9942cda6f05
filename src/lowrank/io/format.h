// What a container format gives the layer: a look at the first bytes, and a parser over the whole file in memory.
#pragma once

#include "lowrank/io/tensor_file.h"

namespace lowrank::io {

struct Contents {
  Metadata metadata;
  std::vector<TensorView> tensors;  // in any order; names are unique; bytes point into the parsed span
};

struct Format {
  std::string_view name;
  bool (*recognises)(std::span<const std::byte> file);
  /// Throws Error{file_format or unsupported} naming `where`. Reads nothing outside `file`.
  Contents (*parse)(std::span<const std::byte> file, std::string_view where);
};

}  // namespace lowrank::io
