#include "lowrank/nn/packed.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include "lowrank/base/error.h"

namespace lowrank::nn {

at::Tensor Sequences::first_rows(at::Device device) const {
  return at::tensor(at::ArrayRef<int64_t>(offsets.data(), offsets.size() - 1), at::kLong).to(device);
}

Packed pack(const std::vector<std::vector<int64_t>>& ids, const std::vector<std::vector<int64_t>>& type_ids) {
  Packed packed;
  packed.offsets = {0};
  for (size_t b = 0; b < ids.size(); ++b) {
    check(!ids[b].empty(), ErrorKind::invalid_argument, "pack", "sequence {} is empty", b);
    check(type_ids.empty() || type_ids[b].size() == ids[b].size(), ErrorKind::invalid_argument, "pack",
          "sequence {}: expected {} type ids, got {}", b, ids[b].size(), type_ids.empty() ? 0 : type_ids[b].size());
    packed.offsets.push_back(packed.offsets.back() + static_cast<int64_t>(ids[b].size()));
  }
  packed.ids = at::empty({packed.tokens()}, at::kLong);
  packed.positions = at::empty({packed.tokens()}, at::kLong);
  packed.type_ids = at::empty({packed.tokens()}, at::kLong);
  auto* id = packed.ids.mutable_data_ptr<int64_t>();
  auto* position = packed.positions.mutable_data_ptr<int64_t>();
  auto* type = packed.type_ids.mutable_data_ptr<int64_t>();
  for (size_t b = 0; b < ids.size(); ++b) {
    for (size_t t = 0; t < ids[b].size(); ++t) {
      *id++ = ids[b][t];
      *position++ = static_cast<int64_t>(t);
      *type++ = type_ids.empty() ? 0 : type_ids[b][t];
    }
  }
  return packed;
}

}  // namespace lowrank::nn
