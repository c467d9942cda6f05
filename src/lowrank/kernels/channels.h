// Passes over the channels of pictures [N, C, H, W], contiguous and on the CPU, in any floating dtype; numbers of a channel are in float32
// or wider. Not differentiable.
#pragma once

#include <ATen/core/Tensor.h>

namespace lowrank::kernels {

/// Σ a ⊙ b over pictures and pixels → [C]. The order of a sum depends on the sizes alone.
at::Tensor channel_dots(const at::Tensor& a, const at::Tensor& b);

/// Σ a over pictures and pixels → [C].
at::Tensor channel_sums(const at::Tensor& a);

/// to = gain ⊙ from + bias, rounded once; gain [C], bias [C] or undefined for 0. `to` may be `from`.
void scale_channels(const at::Tensor& to, const at::Tensor& from, const at::Tensor& gain, const at::Tensor& bias);

}  // namespace lowrank::kernels
