// LoKr: W' = W + s·(W1 ⊗ W2), W1 [l, m], W2 [k, n], l·k = O, m·n = I (Yeh et al., arXiv 2309.14859); element
// ΔW[i1·k+i2, j1·n+j2] = s·W1[i1,j1]·W2[i2,j2]. Of a convolution m·n is its channels and W2 a kernel [k, n, kh, kw]. W2 = w2_a·w2_b, [k,
// R]·[R, n], when R < max(k, n)/2; W1 = w1_a·w1_b likewise when asked for. In Tucker form W2[o, i, y, x] = Σ_pq t2[p, q, y, x]·w2_a[p,
// o]·w2_b[q, i], t2 [R, R, kh, kw], w2_a [R, k], w2_b [R, n]. Tensor names, factorisation and initialisation as in PEFT's
// tuners/lokr/layer.py; no dense product is formed, but for a convolution of several groups, whose matrix is small.
#pragma once

#include "lowrank/adapters/method.h"

namespace lowrank::adapters {

struct LokrOptions : MethodOptions {
  int64_t factor = 8;
  std::vector<int64_t> factors;  // explicit outer factors {l, m}; empty: by `factor`
  bool decompose_both = false, full_matrix = false, tucker = false;
  std::string init = "peft", scale_rule = "peft";
  double rank_dropout = 0.0, module_dropout = 0.0;
  bool rank_dropout_scale = true;
  void declare(OptionTable& table) override;
};

/// d = outer·inner by PEFT's rule: {f, d/f} when f divides d; else the largest divisor up to min(f, √d) (f = −1: up to √d) and
/// its cofactor, the smaller one first.
struct Factors {
  int64_t outer, inner;
};
Factors factorize(int64_t dimension, int64_t factor);

/// The sizes of W1 [l, m] and W2 [k, n], and which of them are products of two; tucker: of three.
struct LokrLayout {
  int64_t l, k, m, n;
  bool factored_w1, factored_w2, tucker;
};
/// Throws Error{invalid_argument} when explicit factors do not divide O or the channels.
LokrLayout lokr_layout(const ModuleOptions& options, const nn::HostShape& host);
/// alpha/R; with scale-rule lycoris 1 when neither W1 nor W2 is a product.
double lokr_scale(const ModuleOptions& options, const LokrLayout& layout);

class LokrAdapter : public nn::Adapter {
 public:
  LokrAdapter(const ModuleOptions& options, const nn::Host& host);

  at::Tensor apply_to_weight(const at::Tensor& w) const override;
  /// mix = W1, B·A = W2; none when W2 is full, and for several groups.
  std::optional<nn::LowRankForm> low_rank(const nn::Host& host) const override;
  /// w2_b on each of x's m blocks of n → blocks mixed by W1, in rank space → w2_a on each of y's l blocks of k. A full W2 goes
  /// before or after the mixing, whichever costs less. Rank dropout drops output channels of the update, module dropout
  /// all of it, both row by row.
  at::Tensor forward(const at::Tensor& x, const at::Tensor& y0, const nn::Host& host, const nn::DropoutSource& dropout) override;
  bool has_dropout() const override { return rank_dropout_ > 0 || module_dropout_ > 0; }

 private:
  at::Tensor w1() const;
  at::Tensor w2() const;  // [k, n·kh·kw]
  at::Tensor A() const;   // W2 = B·A where it is a product, [k, R]·[R, n·kh·kw]
  at::Tensor B() const;
  at::Tensor add_update(const at::Tensor& x, const at::Tensor& y0, const nn::Host& host) const;

  LokrLayout layout_;
  double scale_, rank_dropout_, module_dropout_;
  bool rank_dropout_scale_;
};

}  // namespace lowrank::adapters
