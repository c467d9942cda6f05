// Packed attention of one sequence and head on a matrix unit: bfloat16 numbers, float32 sums. One object a thread.
#pragma once

#include <c10/util/BFloat16.h>

#include "lowrank/kernels/attention_tiles.h"
#include "lowrank/kernels/buffer.h"
#include "lowrank/kernels/tile_product.h"

namespace lowrank::kernels {

/// Scores, softmax and its gradient are in float32; probabilities and the scores' gradients are rounded before they are multiplied.
class TileAttention {
 public:
  using Number = at::BFloat16;
  using Sum = float;
  static constexpr int64_t kStatistics = 2;  // of a query: its highest score, and the inverse of the sum of its exponentials

  explicit TileAttention(const AttentionInput<at::BFloat16>& in);
  void forward(const AttentionTile& tile, at::BFloat16* out, float* statistics);
  void backward(const AttentionTile& tile, const AttentionGradients<at::BFloat16>& grad, const float* statistics);

 private:
  using Numbers = Buffer<at::BFloat16>;
  at::BFloat16* gathered(const at::BFloat16* from, int64_t rows, Numbers& buffer);
  at::BFloat16* paired(const at::BFloat16* from, int64_t rows, Numbers& buffer);
  at::BFloat16* turned(const at::BFloat16* from, int64_t rows, Numbers& buffer);
  void forward_part(const AttentionTile& part, at::BFloat16* out, float* statistics);
  void backward_part(const AttentionTile& part, const AttentionGradients<at::BFloat16>& grad, const float* statistics, bool add);
  void gradients_of_scores(const AttentionTile& part, const AttentionGradients<at::BFloat16>& grad, const float* statistics);

  AttentionInput<at::BFloat16> in_;
  int64_t depth_;  // padded
  Numbers q_, k_, v_, dout_, k_packed_, v_packed_, q_packed_, dout_packed_, turned_, p_, ds_, ds_turned_;
  Buffer<float> scores_, dp_, sums_, dk_, dv_;
  TileScope scope_;
};

}  // namespace lowrank::kernels
