// Packed attention of one sequence and head with vector instructions, in float32 or float64. One object a thread.
#pragma once

#include "lowrank/kernels/attention_tiles.h"
#include "lowrank/kernels/buffer.h"
#include "lowrank/kernels/narrow_product.h"

namespace lowrank::kernels {

/// The depth of a head is a multiple of kNarrowLanes.
template <class T>
class VectorAttention {
 public:
  using Number = T;
  using Sum = T;
  static constexpr int64_t kStatistics = 1;  // of a query: the logarithm of the sum of its exponentials

  explicit VectorAttention(const AttentionInput<T>& in) : in_(in) {}
  void forward(const AttentionTile& tile, T* out, T* statistics);
  void backward(const AttentionTile& tile, const AttentionGradients<T>& grad, const T* statistics);

 private:
  void turn(const AttentionTile& tile, const T* y, Buffer<T>& turned);
  void all_pairs(const AttentionTile& part, const T* x, const T* turned, T* scores);
  void weighted(int64_t rows, int64_t depth, Strided<T> scores, const T* y, T* result, bool add);
  void forward_part(const AttentionTile& part, T* out, T* log_sums);
  void backward_part(const AttentionTile& part, const AttentionGradients<T>& grad, const T* log_sums, bool add);

  AttentionInput<T> in_;
  Buffer<T> scores_, gradients_, k_turned_, v_turned_;
};

}  // namespace lowrank::kernels
