#include "lowrank/adapters/dropout.h"

#include <ATen/ops/empty.h>

#include "lowrank/base/error.h"
#include "lowrank/base/random.h"
#include "lowrank/tensor/parallel.h"

namespace lowrank::adapters {

at::Tensor dropout_mask(const nn::DropoutSource& source, DropoutSite site, int64_t width, double p, const at::TensorOptions& like) {
  const auto rows = static_cast<int64_t>(source.keys->size());
  at::Tensor mask = at::empty({rows, width}, at::kFloat);
  float* out = mask.mutable_data_ptr<float>();
  const auto kept = static_cast<float>(1.0 / (1.0 - p));
  const auto threshold = static_cast<uint64_t>(p * 65536.0);  // 16 bits a draw
  tensor::parallel_for(0, rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      RandomStream stream((*source.keys)[static_cast<size_t>(row)], "", source.salt, static_cast<uint64_t>(site));
      uint64_t bits = 0;
      for (int64_t column = 0; column < width; ++column) {
        if (column % 4 == 0) bits = stream.next_u64();
        out[row * width + column] = (bits & 0xFFFF) < threshold ? 0.0F : kept;
        bits >>= 16;
      }
    }
  });
  return mask.to(like);
}

at::Tensor drop_input(const at::Tensor& x, double p, const nn::DropoutSource& source) {
  if (source.keys == nullptr || p == 0.0 || !x.is_floating_point()) return x;
  const auto keys = static_cast<int64_t>(source.keys->size());
  int64_t rows = 1;
  for (int64_t d = 0; d + 1 < x.dim() && rows < keys; ++d) rows *= x.size(d);
  check(rows == keys, ErrorKind::internal, "dropout", "expected a key for each of the leading dimensions of {}, got {}",
        fmt::join(x.sizes(), "x"), keys);
  return x * dropout_mask(source, DropoutSite::input, x.numel() / keys, p, x.options()).view(x.sizes());
}

}  // namespace lowrank::adapters
