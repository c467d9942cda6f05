// A batch of pictures of one size.
#pragma once

#include "lowrank/nn/packed.h"

namespace lowrank::nn {

struct Pictures {
  at::Tensor pixels;  // [B, 3, height, width], normalised as the model wants them
  RowKeys keys;       // [B], one a picture, from (seed, step, sample) while training with dropout; else empty

  int64_t size() const { return pixels.size(0); }
};

}  // namespace lowrank::nn
