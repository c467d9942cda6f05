#include <array>

#include "lowrank/io/tensor_file.h"

namespace lowrank::io {

namespace {

struct DTypeRow {
  std::string_view name;
  size_t bytes;
};

// In the enumerator's order.
constexpr std::array<DTypeRow, kDTypeCount> kDTypes{{{"F64", 8},
                                                     {"F32", 4},
                                                     {"F16", 2},
                                                     {"BF16", 2},
                                                     {"F8_E4M3", 1},
                                                     {"F8_E5M2", 1},
                                                     {"I64", 8},
                                                     {"I32", 4},
                                                     {"I16", 2},
                                                     {"I8", 1},
                                                     {"U64", 8},
                                                     {"U32", 4},
                                                     {"U16", 2},
                                                     {"U8", 1},
                                                     {"BOOL", 1}}};

}  // namespace

std::string_view to_string(DType dtype) { return kDTypes[static_cast<size_t>(dtype)].name; }

size_t byte_size(DType dtype) { return kDTypes[static_cast<size_t>(dtype)].bytes; }

int64_t TensorView::numel() const {
  int64_t count = 1;
  for (const int64_t dimension : shape) count *= dimension;
  return count;
}

}  // namespace lowrank::io
