// The gradients of a low-rank layer's own parameters, from its input and its output's gradient.
#pragma once

#include "lowrank/kernels/lowrank_update.h"

namespace lowrank::kernels {

struct LowRankGradients {
  at::Tensor dA, dB, dgain, dmix, dbias;  // undefined where not asked for
  at::Tensor g;                           // [N·m, R], of the rank-space activations x·Aᵀ: dx = dy·W + g·A; undefined unless wanted
  at::Tensor dx;                          // [N, I], the whole; undefined unless wanted
};

/// What lowrank_gradients is given; dy [N, O] and x [N, I] in one dtype, contiguous.
struct GradientRequest {
  at::Tensor x, dy;
  at::Tensor h;     // [N·m, R] = x·Aᵀ by blocks, where the forward pass kept it; else undefined
  at::Tensor y;     // [N, O], for dgain, else undefined
  at::Tensor bias;  // [O] if y holds one, else undefined
  bool dbias = false, g = false;
  at::Tensor weight;  // [O, I], for dx where has_adapted_rows() of dy, else undefined
};

/// With h = x·Aᵀ by blocks and g' = scale·(gain ⊙ dy)·B by blocks: g = mixᵀ·g', dA = gᵀ·x, dB = scale·(gain ⊙ dy)ᵀ·(mix·h),
/// dmix = Σ g'·hᵀ, dgain = Σ_rows dy ⊙ (y − bias)/gain (0 where gain is 0), dbias = Σ_rows dy.
/// On the CPU in float32 and float64 all of it is one pass over x, dy and y: blocks of rows are read once and stay in the cache for
/// every product. Elsewhere it is a series of library products. The order of every sum depends on N alone, not on the threads.
LowRankGradients lowrank_gradients(const LowRankUpdate& update, const GradientRequest& request);

/// The series of library products, whatever the device.
LowRankGradients plain_lowrank_gradients(const LowRankUpdate& update, const GradientRequest& request);

}  // namespace lowrank::kernels
