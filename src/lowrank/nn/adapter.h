// What a layer asks of whatever adapts it. The methods themselves are in the adapters layer, one file each.
#pragma once

#include <optional>
#include <string_view>
#include <torch/nn/module.h>

#include "lowrank/nn/packed.h"

namespace lowrank::nn {

class Host;

/// W' = diag(gain)·(W + scale·(mix ⊗ (B·A))), the form that most methods share and that hosts run as one fused operation.
/// A [R, n], B [k, R]; gain [O], undefined for all ones; mix [l, m] with l·k = O and m·n = I, undefined for the number 1. At most
/// one of gain and mix. All may require gradients. A method with a mix overrides forward().
struct LowRankForm {
  at::Tensor A, B;
  double scale = 1.0;
  at::Tensor gain, mix;
};

/// Where a forward pass draws its dropout from: rows' keys and the layer's own salt. No keys: no dropout.
struct DropoutSource {
  const RowKeys* keys = nullptr;
  uint64_t salt = 0;
};

/// One attached adapter. apply_to_weight() defines it; every other member must agree with it (tests/adapters/laws).
class Adapter : public torch::nn::Module {
 public:
  /// W' for the base matrix w [O, I], on w's device. Pure: w is not written. Computed in float32 (float64 if w is), returned
  /// in that dtype so that the caller rounds once.
  virtual at::Tensor apply_to_weight(const at::Tensor& w) const = 0;

  /// The shared form, if the method has one at this moment (no dropout to apply to the input, say).
  virtual std::optional<LowRankForm> low_rank(const Host& host) const;

  /// The A [R, I] whose W·Aᵀ low_rank() will ask the host for; undefined when it will not. A host that can then finds it on the way.
  virtual at::Tensor due_projection(const Host& /*host*/) const { return {}; }

  /// Maps y0 = x·Wᵀ [.., O] to y = x·W'ᵀ; no bias on either side. y0 is the caller's own fresh tensor: it may be overwritten.
  /// The default uses low_rank(), else a dense x·apply_to_weight(W)ᵀ. Random parts act only when `dropout` has keys.
  virtual at::Tensor forward(const at::Tensor& x, const at::Tensor& y0, const Host& host, const DropoutSource& dropout);

  /// True when W' − W does not depend on W, so that such adapters commute and may share a host.
  virtual bool is_additive() const { return true; }
  /// True when forward differs in training because of dropout.
  virtual bool has_dropout() const { return false; }
  /// Called once when attached, with the frozen matrix [O, I] at hand (DoRA takes its magnitudes here).
  virtual void attached(const Host& /*host*/) {}

  /// Strength k of the whole adapter: W + k·(W' − W). 1 while training.
  double multiplier() const { return multiplier_; }
  void set_multiplier(double value) { multiplier_ = value; }

 private:
  double multiplier_ = 1.0;
};

}  // namespace lowrank::nn
