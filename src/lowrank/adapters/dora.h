// DoRA, weight-decomposed: W' = m/‖W + s·B·A‖ ⊙ (W + s·B·A), the norm of each row of [O, I] and m [O] trained
// (Liu et al., arXiv 2402.09353). The magnitude's axis is the output: for an embedding, each width dimension over the
// vocabulary, as in PEFT's tuners/lora/dora.py. A row whose norm is 0 has gain m; no epsilon elsewhere.
//
// The norm is exact and never needs B·A: ‖W_j + s·B_j·A‖² = ‖W_j‖² + 2s·⟨U_j, B_j⟩ + s²·B_j·G·B_jᵀ with U = W·Aᵀ [O, R] and
// G = A·Aᵀ [R, R]; it is computed once for each state of A and B.
#pragma once

#include "lowrank/adapters/lora.h"

namespace lowrank::adapters {

struct DoraOptions : LoraOptions {
  std::string norm_gradient = "detached";  // detached: the norm is a constant in backward (paper §4.3); full: it is not
  void declare(OptionTable& table) override;
};

/// The rows' norms for one state of W, A and B. W is recognised by storage and version counter. A and B are compared with copies
/// on the CPU, because optimisers may write behind the version counter (libtorch's own do); elsewhere, where comparing would wait
/// for the device, every pass that records gradients counts as a new state.
class RowNorms {
 public:
  /// ‖W + s·B·A‖ by rows [O], in A's dtype. With `with_gradient` it is differentiable in A and B at the price of two skinny
  /// products: with λ = dn/n, dB = λ ⊙ (s·U + s²·B·G) and dA = s·(λ⊙B)ᵀ·W + s²·Bᵀ·diag(λ)·B·A.
  at::Tensor of(const nn::Host& host, const at::Tensor& A, const at::Tensor& B, double scale, bool with_gradient);
  /// Whether of() has the norms of this state already.
  bool are_of(const nn::Host& host, const at::Tensor& A, const at::Tensor& B) const;
  /// What of() last computed, without a gradient and with 1 in place of 0: what the magnitude is divided by.
  const at::Tensor& divisors() const { return divisors_; }
  /// How often the norm was computed so far.
  int64_t computations() const { return computations_; }

 private:
  struct State {
    at::Tensor tensor, copy;
    uint32_t version = 0;
    bool is(const at::Tensor& now) const;
    bool has_contents(const at::Tensor& now) const;  // the same for a parameter
    bool update(const at::Tensor& now);              // true when it was another
    bool update_contents(const at::Tensor& now);
  };
  void compute(const nn::Host& host, const at::Tensor& A, const at::Tensor& B, double scale);
  /// W + s·B·A in memory for its norms: for devices that work ahead, which compute() would make wait when it looks at its numbers.
  void compute_directly(const nn::Host& host, const at::Tensor& A, const at::Tensor& B, double scale, bool with_gradient);

  State weight_, a_, b_;
  at::Tensor squares_;    // ‖W_j‖² [O], float64
  at::Tensor projected_;  // U
  at::Tensor norms_, divisors_;
  int64_t computations_ = 0;
};

class DoraAdapter : public LoraAdapter {
 public:
  /// m starts as the row norms of W (ΔW is 0 then).
  DoraAdapter(const ModuleOptions& options, const nn::Host& host);

  at::Tensor apply_to_weight(const at::Tensor& w) const override;
  std::optional<nn::LowRankForm> low_rank(const nn::Host& host) const override;
  at::Tensor due_projection(const nn::Host& host) const override;
  /// y0 + (g−1)⊙W·x̃ + g⊙s·B·A·x̃ with g = m/‖W + s·B·A‖; x̃ is x with dropout, as in PEFT.
  at::Tensor forward(const at::Tensor& x, const at::Tensor& y0, const nn::Host& host, const nn::DropoutSource& dropout) override;
  bool is_additive() const override { return false; }

  const RowNorms& norms() const { return norms_; }

 private:
  const at::Tensor& magnitude() const { return parameters_["lora_magnitude_vector"]; }
  at::Tensor gain(const at::Tensor& norms) const;
  at::Tensor gain(const nn::Host& host) const;

  bool norm_has_gradient_;
  mutable RowNorms norms_;
};

}  // namespace lowrank::adapters
