// Dropout on a layer's input rows, as a function of each row's key and the layer's salt alone.
#pragma once

#include "lowrank/nn/adapter.h"

namespace lowrank::adapters {

/// x [N, I] with each element zeroed with probability p and the rest scaled by 1/(1−p); x itself when the source has no
/// keys or p is 0. One-hot inputs (indices) cannot be dropped and are returned as they are.
at::Tensor drop_input(const at::Tensor& x, double p, const nn::DropoutSource& source);

}  // namespace lowrank::adapters
