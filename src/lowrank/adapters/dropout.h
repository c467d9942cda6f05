// Dropout for adapters: masks are functions of the rows' keys and the layer's salt, hence independent of batch and order.
#pragma once

#include "lowrank/nn/adapter.h"

namespace lowrank::adapters {

/// Separates the masks of one layer from each other.
enum class DropoutSite : uint64_t { input, rank, module };

/// [N, width] for N keys, with 1/(1−p) where kept and 0 where dropped; row i depends on (keys[i], salt, site) alone. p is met to 1.6e-5.
at::Tensor dropout_mask(const nn::DropoutSource& source, DropoutSite site, int64_t width, double p, const at::TensorOptions& like);

/// x with each element zeroed with probability p and the rest scaled by 1/(1−p); x itself when the source has no keys or p is 0.
/// The keys count x's leading dimensions, as far as they go: rows [N, I], a picture each of [N, C, H, W], or samples [N, T, I].
/// One-hot inputs (indices) cannot be dropped and are returned as they are.
at::Tensor drop_input(const at::Tensor& x, double p, const nn::DropoutSource& source);

}  // namespace lowrank::adapters
