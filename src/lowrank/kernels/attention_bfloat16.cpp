#include "lowrank/kernels/attention_bfloat16.h"

#include <algorithm>

#include "lowrank/kernels/attention_rows.h"
#include "lowrank/kernels/rounding.h"

namespace lowrank::kernels {

namespace {

constexpr int64_t kQueries = 64;  // whose scores are held at a time

int64_t padded(int64_t count, int64_t multiple = kTileSide) { return (count + multiple - 1) / multiple * multiple; }

}  // namespace

TileAttention::TileAttention(const AttentionInput<at::BFloat16>& in) : in_(in), depth_(padded(in.depth, kTileDepth)) {}

at::BFloat16* TileAttention::gathered(const at::BFloat16* from, int64_t rows, Numbers& buffer) {
  at::BFloat16* to = buffer.at_least(padded(rows) * depth_);
  gather_rows(rows, in_.depth, from, in_.width, to);
  return to;
}

at::BFloat16* TileAttention::paired(const at::BFloat16* from, int64_t rows, Numbers& buffer) {
  at::BFloat16* to = buffer.at_least(padded(rows) * depth_);
  pack_pairs(padded(rows), depth_, from, to);
  return to;
}

at::BFloat16* TileAttention::turned(const at::BFloat16* from, int64_t rows, Numbers& buffer) {
  at::BFloat16* to = buffer.at_least(padded(rows) * depth_);
  pack_turned(padded(rows), depth_, from, to);
  return to;
}

void TileAttention::forward(const AttentionTile& tile, at::BFloat16* out, float* statistics) {
  turned(gathered(in_.keys(tile, in_.k), tile.keys, k_), tile.keys, k_packed_);
  paired(gathered(in_.keys(tile, in_.v), tile.keys, v_), tile.keys, v_packed_);
  for (int64_t i = 0; i < tile.queries; i += kQueries) forward_part(tile.part(i, std::min(kQueries, tile.queries - i)), out, statistics);
}

void TileAttention::forward_part(const AttentionTile& part, at::BFloat16* out, float* statistics) {
  const int64_t rows = padded(part.queries), keys = padded(part.keys);
  const at::BFloat16* q = gathered(in_.queries(part, in_.q), part.queries, q_);
  float *scores = scores_.at_least(rows * keys), *sums = sums_.at_least(rows * depth_), highest[kQueries], inverse[kQueries];
  at::BFloat16* p = p_.at_least(rows * keys);
  tile_product(rows, keys, depth_, q, depth_, k_packed_.get(), scores, keys, /*add=*/false);
  softmax_rows(rows, part.keys, keys, scores, static_cast<float>(in_.scale), p, highest, inverse);
  tile_product(rows, depth_, keys, p, keys, v_packed_.get(), sums, depth_, /*add=*/false);
  write_rows(part.queries, in_.depth, sums, depth_, inverse, in_.queries(part, out), in_.width);
  for (int64_t i = 0; i < part.queries; ++i) {
    statistics[2 * (part.statistics + i)] = highest[i];
    statistics[2 * (part.statistics + i) + 1] = inverse[i];
  }
}

void TileAttention::backward(const AttentionTile& tile, const AttentionGradients<at::BFloat16>& grad, const float* statistics) {
  paired(gathered(in_.keys(tile, in_.k), tile.keys, k_), tile.keys, k_packed_);
  gathered(in_.keys(tile, in_.v), tile.keys, v_);
  const int64_t size = padded(tile.keys) * depth_;
  float *dk = dk_.at_least(size), *dv = dv_.at_least(size);
  for (int64_t i = 0; i < tile.queries; i += kQueries)
    backward_part(tile.part(i, std::min(kQueries, tile.queries - i)), grad, statistics, /*add=*/i > 0);
  write_rows(tile.keys, in_.depth, dk, depth_, nullptr, in_.keys(tile, grad.dk), in_.width);
  write_rows(tile.keys, in_.depth, dv, depth_, nullptr, in_.keys(tile, grad.dv), in_.width);
}

/// p_ and ds_ [keys, queries], and ds_turned_ [queries, keys]; q_ and dout_ as they are needed afterwards.
void TileAttention::gradients_of_scores(const AttentionTile& part, const AttentionGradients<at::BFloat16>& grad, const float* statistics) {
  const int64_t rows = padded(part.queries), keys = padded(part.keys), size = rows * keys;
  const at::BFloat16 *q = gathered(in_.queries(part, in_.q), part.queries, q_),
                     *dout = gathered(in_.queries(part, grad.dout), part.queries, dout_);
  float *scores = scores_.at_least(size), *dp = dp_.at_least(size), highest[kQueries] = {}, inverse[kQueries] = {}, means[kQueries] = {};
  tile_product(keys, rows, depth_, k_.get(), depth_, turned(q, part.queries, turned_), scores, rows, /*add=*/false);
  tile_product(keys, rows, depth_, v_.get(), depth_, turned(dout, part.queries, turned_), dp, rows, /*add=*/false);
  // Σ_j P_ij·dP_ij equals the row product of output and its gradient
  row_products(part.queries, in_.depth, in_.queries(part, grad.out), in_.queries(part, grad.dout), in_.width, means);
  for (int64_t i = 0; i < part.queries; ++i) {
    highest[i] = statistics[2 * (part.statistics + i)];
    inverse[i] = statistics[2 * (part.statistics + i) + 1];
  }
  at::BFloat16 *p = p_.at_least(size), *ds = ds_.at_least(size);
  softmax_gradients(part.keys, rows, scores, dp, static_cast<float>(in_.scale), highest, inverse, means, p, ds);
  const int64_t real = part.keys * rows;
  std::fill(p + real, p + size, at::BFloat16(0.0F));
  std::fill(ds + real, ds + size, at::BFloat16(0.0F));
  std::fill(dp + real, dp + size, 0.0F);
  turn_rounded(keys, rows, dp, ds_turned_.at_least(size), keys);
}

void TileAttention::backward_part(const AttentionTile& part, const AttentionGradients<at::BFloat16>& grad, const float* statistics,
                                  bool add) {
  const int64_t rows = padded(part.queries), keys = padded(part.keys);
  gradients_of_scores(part, grad, statistics);
  float* dq = sums_.at_least(rows * depth_);
  tile_product(keys, depth_, rows, p_.get(), rows, paired(dout_.get(), part.queries, dout_packed_), dv_.get(), depth_, add);
  tile_product(keys, depth_, rows, ds_.get(), rows, paired(q_.get(), part.queries, q_packed_), dk_.get(), depth_, add);
  tile_product(rows, depth_, keys, ds_turned_.get(), keys, k_packed_.get(), dq, depth_, /*add=*/false);
  write_rows(part.queries, in_.depth, dq, depth_, nullptr, in_.queries(part, grad.dq), in_.width);
}

}  // namespace lowrank::kernels
