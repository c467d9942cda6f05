#include "lowrank/kernels/attention.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/record_function.h>
#include <algorithm>
#include <cmath>
#include <memory>
#include <torch/csrc/autograd/custom_function.h>

#include "lowrank/base/error.h"
#include "lowrank/kernels/exponential.h"
#include "lowrank/kernels/narrow_product.h"
#include "lowrank/tensor/parallel.h"

namespace lowrank::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

/// One sequence and head: where its rows begin, and how long it is.
struct Tile {
  int64_t query_row, queries, key_row, keys, head;
};

std::vector<Tile> tiles_of(const std::vector<int64_t>& query_offsets, const std::vector<int64_t>& key_offsets, int64_t heads) {
  std::vector<Tile> tiles;
  for (size_t s = 0; s + 1 < key_offsets.size(); ++s) {
    for (int64_t head = 0; head < heads; ++head) {
      tiles.push_back(
          {query_offsets[s], query_offsets[s + 1] - query_offsets[s], key_offsets[s], key_offsets[s + 1] - key_offsets[s], head});
    }
  }
  return tiles;
}

/// Of one thread: scores, their gradients, and a tile of K or V with its keys side by side.
template <class T>
struct Scratch {
  Scratch(const std::vector<Tile>& tiles, int64_t depth) {
    for (const Tile& tile : tiles) {
      const int64_t width = padded_columns<T>(tile.keys);
      if (tile.queries * width > most_scores) most_scores = tile.queries * width;
      if (depth * width > most_turned) most_turned = depth * width;
    }
    scores = std::make_unique_for_overwrite<T[]>(static_cast<size_t>(most_scores));
    gradients = std::make_unique_for_overwrite<T[]>(static_cast<size_t>(most_scores));
    turned = std::make_unique_for_overwrite<T[]>(static_cast<size_t>(most_turned));
  }
  int64_t most_scores = 0, most_turned = 0;
  std::unique_ptr<T[]> scores, gradients, turned;
};

/// One head's columns of packed rows.
template <class T>
struct Head {
  Head(T* tensor, int64_t row, int64_t width, const Tile& tile, int64_t depth) : rows{tensor + row * width + tile.head * depth, width} {}
  Rows<T> rows;
};

/// scores [queries, width] = x·yᵀ, with zeros for keys that there are none of.
template <class T>
void all_pairs(const Tile& tile, int64_t depth, const Head<const T>& x, const Head<const T>& y, T* turned, T* scores) {
  const int64_t width = padded_columns<T>(tile.keys);
  for (int64_t c = 0; c < depth; ++c) {
    T* row = turned + c * width;
    for (int64_t j = 0; j < tile.keys; ++j) row[j] = y.rows.data[j * y.rows.stride + c];
    std::fill(row + tile.keys, row + width, T(0));
  }
  narrow_product(tile.queries, width, depth, Strided<T>{x.rows.data, x.rows.stride, 1}, Rows<const T>{turned, width},
                 Rows<T>{scores, width}, Rows<const T>{});
}

/// result [queries, depth] = scores·y, or with `turned` result [keys, depth] = scoresᵀ·y.
template <class T>
void weighted(const Tile& tile, int64_t depth, const T* scores, const Head<const T>& y, const Head<T>& result, bool turned) {
  const int64_t width = padded_columns<T>(tile.keys);
  const Strided<T> p = turned ? Strided<T>{scores, 1, width} : Strided<T>{scores, width, 1};
  narrow_product(turned ? tile.keys : tile.queries, depth, turned ? tile.queries : tile.keys, p, y.rows, result.rows, Rows<const T>{});
}

template <class T>
void softmax_row(T* row, int64_t count, T scale, T& log_sum) {
  const T highest = largest(row, count) * scale, sum = exponentials(row, count, scale, highest), inverse = 1 / sum;
  for (int64_t j = 0; j < count; ++j) row[j] *= inverse;
  log_sum = highest + std::log(sum);
}

/// Pointers to the first number of each tensor, and what they have in common.
template <class T>
struct Tensors {
  const T *q, *k, *v;
  int64_t width, depth;
  T scale;
};

template <class T>
void forward_tile(const Tile& tile, const Tensors<T>& in, T* out, T* log_sums, Scratch<T>& scratch) {
  const auto head = [&](auto* tensor, int64_t row) { return Head(tensor, row, in.width, tile, in.depth); };
  T* scores = scratch.scores.get();
  all_pairs<T>(tile, in.depth, head(in.q, tile.query_row), head(in.k, tile.key_row), scratch.turned.get(), scores);
  for (int64_t i = 0; i < tile.queries; ++i) softmax_row(scores + i * padded_columns<T>(tile.keys), tile.keys, in.scale, log_sums[i]);
  weighted<T>(tile, in.depth, scores, head(in.v, tile.key_row), head(out, tile.query_row), false);
}

template <class T>
struct Gradients {
  const T *out, *dout;
  T *dq, *dk, *dv;
};

template <class T>
void backward_tile(const Tile& tile, const Tensors<T>& in, const Gradients<T>& grad, const T* log_sums, Scratch<T>& scratch) {
  const auto query = [&](auto* tensor) { return Head(tensor, tile.query_row, in.width, tile, in.depth); };
  const auto key = [&](auto* tensor) { return Head(tensor, tile.key_row, in.width, tile, in.depth); };
  T *p = scratch.scores.get(), *ds = scratch.gradients.get();
  all_pairs<T>(tile, in.depth, query(in.q), key(in.k), scratch.turned.get(), p);
  all_pairs<T>(tile, in.depth, query(grad.dout), key(in.v), scratch.turned.get(), ds);
  const Head out = query(grad.out), dout = query(grad.dout);
  for (int64_t i = 0; i < tile.queries; ++i) {
    const T *o = out.rows.data + i * in.width, *d = dout.rows.data + i * in.width;
    T mean = 0;  // Σ_j P_ij·dP_ij, which equals the row product of output and its gradient
    for (int64_t c = 0; c < in.depth; ++c) mean += o[c] * d[c];
    T *probabilities = p + i * padded_columns<T>(tile.keys), *gradients = ds + i * padded_columns<T>(tile.keys);
    exponentials(probabilities, tile.keys, in.scale, log_sums[i]);
    for (int64_t j = 0; j < tile.keys; ++j) gradients[j] = probabilities[j] * (gradients[j] - mean) * in.scale;
  }
  weighted<T>(tile, in.depth, p, dout, key(grad.dv), true);
  weighted<T>(tile, in.depth, ds, key(in.k), query(grad.dq), false);
  weighted<T>(tile, in.depth, ds, query(in.q), key(grad.dk), true);
}

/// Runs body(tile index, scratch) for every tile.
template <class T, class Body>
void for_each_tile(const std::vector<Tile>& tiles, int64_t depth, Body&& body) {
  const auto count = static_cast<int64_t>(tiles.size()), grain = std::max<int64_t>(1, count / (8 * at::get_num_threads()));
  tensor::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) {
    Scratch<T> scratch(tiles, depth);
    for (int64_t t = begin; t < end; ++t) body(t, scratch);
  });
}

std::vector<int64_t> statistics_offsets(const std::vector<Tile>& tiles) {
  std::vector<int64_t> offsets{0};
  for (const Tile& tile : tiles) offsets.push_back(offsets.back() + tile.queries);
  return offsets;
}

template <class T>
Tensors<T> tensors(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t heads, double scale) {
  return {q.const_data_ptr<T>(), k.const_data_ptr<T>(), v.const_data_ptr<T>(), q.size(1), q.size(1) / heads, static_cast<T>(scale)};
}

/// The kernels work in float32 or float64; narrower inputs are widened for the call.
struct PackedAttention : torch::autograd::Function<PackedAttention> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q_in, const at::Tensor& k_in, const at::Tensor& v_in,
                            const std::vector<int64_t>& query_offsets, const std::vector<int64_t>& key_offsets, int64_t heads,
                            double scale) {
    const auto work = q_in.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor q = q_in.to(work).contiguous(), k = k_in.to(work).contiguous(), v = v_in.to(work).contiguous();
    const auto tiles = tiles_of(query_offsets, key_offsets, heads);
    const auto at_statistics = statistics_offsets(tiles);
    at::Tensor out = at::empty_like(q), log_sums = at::empty({at_statistics.back()}, q.options());
    AT_DISPATCH_FLOATING_TYPES(work, "packed_attention", [&] {
      const auto in = tensors<scalar_t>(q, k, v, heads, scale);
      for_each_tile<scalar_t>(tiles, in.depth, [&](int64_t t, Scratch<scalar_t>& scratch) {
        forward_tile(tiles[t], in, out.mutable_data_ptr<scalar_t>(), log_sums.mutable_data_ptr<scalar_t>() + at_statistics[t], scratch);
      });
    });
    ctx->saved_data["scale"] = scale;
    ctx->saved_data["heads"] = heads;
    ctx->saved_data["query_offsets"] = query_offsets;
    ctx->saved_data["key_offsets"] = key_offsets;
    const at::Tensor result = out.to(q_in.scalar_type());
    ctx->save_for_backward({q_in, k_in, v_in, result, log_sums});
    return result;
  }

  static tensor_list backward(AutogradContext* ctx, tensor_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto dtype = saved[0].scalar_type();
    const auto work = dtype == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor q = saved[0].to(work).contiguous(), k = saved[1].to(work).contiguous(), v = saved[2].to(work).contiguous(),
                     out = saved[3].to(work).contiguous(), &log_sums = saved[4], dout = grads[0].to(work).contiguous();
    const int64_t heads = ctx->saved_data["heads"].toInt();
    const auto tiles = tiles_of(ctx->saved_data["query_offsets"].toIntVector(), ctx->saved_data["key_offsets"].toIntVector(), heads);
    const auto at_statistics = statistics_offsets(tiles);
    at::Tensor dq = at::empty_like(q), dk = at::empty_like(k), dv = at::empty_like(v);
    AT_DISPATCH_FLOATING_TYPES(work, "packed_attention_backward", [&] {
      const auto in = tensors<scalar_t>(q, k, v, heads, ctx->saved_data["scale"].toDouble());
      const Gradients<scalar_t> grad{out.const_data_ptr<scalar_t>(), dout.const_data_ptr<scalar_t>(), dq.mutable_data_ptr<scalar_t>(),
                                     dk.mutable_data_ptr<scalar_t>(), dv.mutable_data_ptr<scalar_t>()};
      for_each_tile<scalar_t>(tiles, in.depth, [&](int64_t t, Scratch<scalar_t>& scratch) {
        backward_tile(tiles[t], in, grad, log_sums.const_data_ptr<scalar_t>() + at_statistics[t], scratch);
      });
    });
    return {dq.to(dtype), dk.to(dtype), dv.to(dtype), at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

/// The plain twin, for devices without a kernel here: one library attention call a sequence.
at::Tensor by_sequence(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const std::vector<int64_t>& query_offsets,
                       const std::vector<int64_t>& key_offsets, int64_t heads) {
  std::vector<at::Tensor> parts;
  for (size_t s = 0; s + 1 < key_offsets.size(); ++s) {
    const auto keys = [&](const at::Tensor& x) { return x.slice(0, key_offsets[s], key_offsets[s + 1]); };
    parts.push_back(batch_attention(q.slice(0, query_offsets[s], query_offsets[s + 1]), keys(k), keys(v), /*sequences=*/1, heads));
  }
  return at::cat(parts);
}

}  // namespace

at::Tensor batch_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t sequences, int64_t heads) {
  const int64_t width = q.size(1);
  check(width % heads == 0, ErrorKind::shape, "batch_attention", "expected a width that {} heads divide, got {}", heads, width);
  check(q.size(0) % sequences == 0 && k.size(0) % sequences == 0 && k.sizes() == v.sizes(), ErrorKind::shape, "batch_attention",
        "expected rows that {} sequences share evenly, got {} queries, {} keys and {} values", sequences, q.size(0), k.size(0), v.size(0));
  const auto split = [&](const at::Tensor& x) { return x.reshape({sequences, -1, heads, width / heads}).transpose(1, 2); };
  return at::scaled_dot_product_attention(split(q), split(k), split(v)).transpose(1, 2).reshape({-1, width});
}

at::Tensor packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const std::vector<int64_t>& query_offsets,
                            const std::vector<int64_t>& key_offsets, int64_t heads) {
  check(q.size(1) % heads == 0, ErrorKind::shape, "packed_attention", "expected a width that {} heads divide, got {}", heads, q.size(1));
  check(q.size(0) == query_offsets.back() && k.size(0) == key_offsets.back() && v.size(0) == key_offsets.back(), ErrorKind::shape,
        "packed_attention", "expected {} query and {} key rows, got {}, {} and {}", query_offsets.back(), key_offsets.back(), q.size(0),
        k.size(0), v.size(0));
  RECORD_FUNCTION("lowrank::packed_attention", std::vector<c10::IValue>{});
  if (!q.is_cpu()) return by_sequence(q, k, v, query_offsets, key_offsets, heads);
  const int64_t depth = q.size(1) / heads, lanes = q.scalar_type() == at::kDouble ? kNarrowLanes<double> : kNarrowLanes<float>;
  const int64_t padding = (lanes - depth % lanes) % lanes;
  const double scale = 1 / std::sqrt(static_cast<double>(depth));
  if (padding == 0) return PackedAttention::apply(q, k, v, query_offsets, key_offsets, heads, scale);
  // Zeros at the end of a head change no score, and what they give is cut away again.
  const auto padded = [&](const at::Tensor& x) { return at::constant_pad_nd(x.reshape({-1, heads, depth}), {0, padding}).flatten(1); };
  const at::Tensor y = PackedAttention::apply(padded(q), padded(k), padded(v), query_offsets, key_offsets, heads, scale);
  return y.view({-1, heads, depth + padding}).slice(2, 0, depth).flatten(1);
}

}  // namespace lowrank::kernels
