#include "lowrank/kernels/attention_vector.h"

#include <algorithm>
#include <cmath>

#include "lowrank/kernels/exponential.h"

namespace lowrank::kernels {

namespace {

constexpr int64_t kQueries = 128;  // whose scores are held at a time

template <class T>
void softmax_row(T* row, int64_t count, T scale, T& log_sum) {
  const T highest = largest(row, count) * scale, sum = exponentials(row, count, scale, highest), inverse = 1 / sum;
  for (int64_t j = 0; j < count; ++j) row[j] *= inverse;
  log_sum = highest + std::log(sum);
}

}  // namespace

/// yᵀ [depth, width] of the tile's keys, with zeros for keys that there are none of.
template <class T>
void VectorAttention<T>::turn(const AttentionTile& tile, const T* y, Buffer<T>& turned) {
  const int64_t width = padded_columns<T>(tile.keys);
  T* to = turned.at_least(in_.depth * width);
  for (int64_t c = 0; c < in_.depth; ++c) {
    T* row = to + c * width;
    for (int64_t j = 0; j < tile.keys; ++j) row[j] = y[j * in_.width + c];
    std::fill(row + tile.keys, row + width, T(0));
  }
}

/// scores [queries, width] = x·turned.
template <class T>
void VectorAttention<T>::all_pairs(const AttentionTile& part, const T* x, const T* turned, T* scores) {
  const int64_t width = padded_columns<T>(part.keys);
  narrow_product(part.queries, width, in_.depth, Strided<T>{x, in_.width, 1}, Rows<const T>{turned, width}, Rows<T>{scores, width},
                 Rows<const T>{});
}

/// result = scores·y, or += it; scores [rows, depth].
template <class T>
void VectorAttention<T>::weighted(int64_t rows, int64_t depth, Strided<T> scores, const T* y, T* result, bool add) {
  narrow_product(rows, in_.depth, depth, scores, Rows<const T>{y, in_.width}, Rows<T>{result, in_.width},
                 add ? Rows<const T>{result, in_.width} : Rows<const T>{});
}

template <class T>
void VectorAttention<T>::forward_part(const AttentionTile& part, T* out, T* log_sums) {
  const int64_t width = padded_columns<T>(part.keys);
  T* scores = scores_.at_least(part.queries * width);
  all_pairs(part, in_.queries(part, in_.q), k_turned_.get(), scores);
  for (int64_t i = 0; i < part.queries; ++i)
    softmax_row(scores + i * width, part.keys, static_cast<T>(in_.scale), log_sums[part.statistics + i]);
  weighted(part.queries, part.keys, {scores, width, 1}, in_.keys(part, in_.v), in_.queries(part, out), false);
}

template <class T>
void VectorAttention<T>::backward_part(const AttentionTile& part, const AttentionGradients<T>& grad, const T* log_sums, bool add) {
  const int64_t width = padded_columns<T>(part.keys);
  const T scale = static_cast<T>(in_.scale), *q = in_.queries(part, in_.q), *k = in_.keys(part, in_.k), *out = in_.queries(part, grad.out),
          *dout = in_.queries(part, grad.dout);
  T *p = scores_.at_least(part.queries * width), *ds = gradients_.at_least(part.queries * width);
  all_pairs(part, q, k_turned_.get(), p);
  all_pairs(part, dout, v_turned_.get(), ds);
  for (int64_t i = 0; i < part.queries; ++i) {
    T mean = 0;  // Σ_j P_ij·dP_ij, which equals the row product of output and its gradient
    for (int64_t c = 0; c < in_.depth; ++c) mean += out[i * in_.width + c] * dout[i * in_.width + c];
    T *probabilities = p + i * width, *gradients = ds + i * width;
    exponentials(probabilities, part.keys, scale, log_sums[part.statistics + i]);
    for (int64_t j = 0; j < part.keys; ++j) gradients[j] = probabilities[j] * (gradients[j] - mean) * scale;
  }
  weighted(part.keys, part.queries, {p, 1, width}, dout, in_.keys(part, grad.dv), add);
  weighted(part.queries, part.keys, {ds, width, 1}, k, in_.queries(part, grad.dq), false);
  weighted(part.keys, part.queries, {ds, 1, width}, q, in_.keys(part, grad.dk), add);
}

template <class T>
void VectorAttention<T>::forward(const AttentionTile& tile, T* out, T* statistics) {
  turn(tile, in_.keys(tile, in_.k), k_turned_);
  for (int64_t i = 0; i < tile.queries; i += kQueries) forward_part(tile.part(i, std::min(kQueries, tile.queries - i)), out, statistics);
}

template <class T>
void VectorAttention<T>::backward(const AttentionTile& tile, const AttentionGradients<T>& grad, const T* statistics) {
  turn(tile, in_.keys(tile, in_.k), k_turned_);
  turn(tile, in_.keys(tile, in_.v), v_turned_);
  for (int64_t i = 0; i < tile.queries; i += kQueries)
    backward_part(tile.part(i, std::min(kQueries, tile.queries - i)), grad, statistics, /*add=*/i > 0);
}

template class VectorAttention<float>;
template class VectorAttention<double>;

}  // namespace lowrank::kernels
