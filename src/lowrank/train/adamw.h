// AdamW (Loshchilov & Hutter, arXiv 1711.05101) over the flat buffer, as torch.optim.AdamW computes it:
//   θ ← θ·(1 − lr·λ);  m ← β₁m + (1 − β₁)g;  v ← β₂v + (1 − β₂)g²;  θ ← θ − lr/(1 − β₁ᵗ) · m / (√(v/(1 − β₂ᵗ)) + ε)
#pragma once

#include "lowrank/train/flat_parameters.h"

namespace lowrank::train {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0.01;
};

class AdamW {
 public:
  AdamW(FlatParameters& parameters, AdamWOptions options);

  /// One update from gradients()·gradient_scale, which are then zero. Weight decay λ acts on matrices alone.
  void step(double learning_rate, double gradient_scale = 1.0);

  const at::Tensor& m() const { return m_; }  // [P]
  const at::Tensor& v() const { return v_; }  // [P]
  int64_t steps() const { return steps_; }
  void restore(const at::Tensor& m, const at::Tensor& v, int64_t steps);

 private:
  FlatParameters& parameters_;
  AdamWOptions options_;
  at::Tensor m_, v_;
  int64_t steps_ = 0;
};

/// √Σg² over a flat buffer.
double length(const at::Tensor& flat);
/// min(1, limit/(norm + 1e-6)), as torch.nn.utils.clip_grad_norm_; 1 when limit is 0.
double clip_factor(double norm, double limit);

}  // namespace lowrank::train
