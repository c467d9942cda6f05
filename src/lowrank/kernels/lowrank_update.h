// What makes a layer's weight W' out of W, as the kernels of this folder take it.
#pragma once

#include <ATen/core/Tensor.h>

namespace lowrank::kernels {

/// W' = diag(gain)·(W + scale·(mix ⊗ (B·A))); A [R, n], B [k, R]; gain [l·k] or undefined (all ones); mix [l, m] or undefined
/// (1, l = m = 1).
struct LowRankUpdate {
  at::Tensor A, B, gain, mix;
  double scale;

  int64_t rank() const { return A.size(0); }
  int64_t out_blocks() const { return mix.defined() ? mix.size(0) : 1; }
  int64_t in_blocks() const { return mix.defined() ? mix.size(1) : 1; }
  /// [N, O] or [N, I] as [N·blocks, width of a block].
  at::Tensor by_out_blocks(const at::Tensor& y) const { return y.reshape({-1, B.size(0)}); }
  at::Tensor by_in_blocks(const at::Tensor& x) const { return x.reshape({-1, A.size(1)}); }

  /// W' [O, I] of W.
  at::Tensor apply(const at::Tensor& weight) const;
};

/// x ⊙ gain in x's dtype, rounded once however wide the gain is.
at::Tensor scaled(const at::Tensor& x, const at::Tensor& gain);

/// Each row's blocks mixed by `matrix` [to, from], undefined for the identity: [N·from, R] → [N·to, R].
at::Tensor mix_blocks(const at::Tensor& matrix, const at::Tensor& h);

/// [N·blocks, R] as [blocks, N·R].
at::Tensor block_first(const at::Tensor& h, int64_t blocks);

}  // namespace lowrank::kernels
