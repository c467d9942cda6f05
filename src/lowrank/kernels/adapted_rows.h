// A frozen weight and its low-rank update as one product on a processor's matrix unit: bfloat16 rows, float32 sums, each row read once and
// written once.
#pragma once

#include <memory>
#include <optional>

#include "lowrank/kernels/buffer.h"
#include "lowrank/kernels/lowrank_update.h"
#include "lowrank/kernels/rank_projection.h"

namespace lowrank::kernels {

/// Whether there is a unit, and these are bfloat16 rows on the CPU, at least one, with even block widths n and k.
bool has_adapted_rows(const LowRankUpdate& update, const at::Tensor& rows);

/// y [N, O] = gain ⊙ (x·Wᵀ + scale·(mix ⊗ (B·A))·x) + bias; x [N, I] and W [O, I] bfloat16 without gaps, bias [O] or undefined.
/// A, B, gain, mix and bias may be wider: A, B and x·Aᵀ are rounded once before they are multiplied, gain, mix and bias stay as they are, y
/// is rounded once at the end.
at::Tensor adapted_rows(const at::Tensor& x, const at::Tensor& weight, const LowRankUpdate& update, const at::Tensor& bias);

/// x·Wᵀ [N, O] and W·Aᵀ [O, R] (as wide_projection()), for which W is read once; x [N, I] and W without gaps, A [R, I] float32. nullopt
/// where adapted_rows() has no kernel for such x, W and A, and where W is packed and kept, which makes reading it cheap.
std::optional<ProductAndProjection> frozen_rows_and_projection(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& A);

/// More left factors of a product's Q, split_by_taps(A) [count, depth], and what they are for: Qᵀ·Aᵀ [blocks·width, rank].
struct MoreFactors {
  int64_t count = 0;
  const at::BFloat16* rows = nullptr;
  int64_t rank = 0;
  float* projected = nullptr;
};

/// The right factors of such a product in the unit's order: the frozen Q [depth, blocks·width] and the narrow S [rank, width] of every
/// block.
class AdaptedFactors {
 public:
  AdaptedFactors(const at::Tensor& weight, bool turned, int64_t blocks, int64_t width, int64_t rank);
  /// Of y from x: Q = Wᵀ, S = scale·Bᵀ.
  static AdaptedFactors of_output(const at::Tensor& weight, const LowRankUpdate& update);
  /// Of dx from gain ⊙ dy: Q = W, S = A.
  static AdaptedFactors of_input_gradient(const at::Tensor& weight, const LowRankUpdate& update);

  /// Numbers of one row of h in multiply(): the rank, rounded up.
  int64_t rank_depth() const { return rank_depth_; }
  /// Whether Q is packed and kept, so that blocks of rows can be multiplied one by one; or else its columns are packed, some at a time, for
  /// all rows at once.
  bool is_kept() const { return frozen_ != nullptr; }
  /// to [rows, blocks·width] = gain ⊙ (x·Q + h·S by blocks) + bias; x [rows, depth], h [rows·blocks, rank_depth] whose last columns are
  /// zero; gain and bias may be null. Single-threaded, in a TileScope; where Q is kept.
  void multiply(int64_t rows, const at::BFloat16* x, const at::BFloat16* h, const float* gain, const float* bias, at::BFloat16* to,
                Buffer<float>& sums) const;
  /// The same on all threads, kept or not; h is not read where the rank is 0.
  void multiply_all(int64_t rows, const at::BFloat16* x, const at::BFloat16* h, const float* gain, const float* bias, at::BFloat16* to,
                    const MoreFactors& more = {}) const;

 private:
  /// Rows k … k + depth of Q's columns first … first + count in block b.
  void pack(int64_t b, int64_t first, int64_t count, int64_t k, int64_t depth, at::BFloat16* packed) const;
  void keep(const at::Tensor& weight);

  const at::BFloat16* weight_;
  bool turned_;  // Q = Wᵀ
  int64_t depth_, blocks_, width_, rank_depth_;
  std::shared_ptr<const Buffer<at::BFloat16>> frozen_;
  Buffer<at::BFloat16> narrow_;
};

}  // namespace lowrank::kernels
