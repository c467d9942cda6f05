#include "lowrank/kernels/attention.h"

#include <ATen/Parallel.h>
#include <ATen/Dispatch.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "lowrank/base/error.h"
#include "lowrank/kernels/blas.h"
#include "lowrank/kernels/exponential.h"

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
      tiles.push_back({query_offsets[s], query_offsets[s + 1] - query_offsets[s], key_offsets[s],
                       key_offsets[s + 1] - key_offsets[s], head});
    }
  }
  return tiles;
}

int64_t most_scores(const std::vector<Tile>& tiles) {
  int64_t most = 0;
  for (const Tile& tile : tiles) most = std::max(most, tile.queries * tile.keys);
  return most;
}

template <class T>
void softmax_row(T* row, int64_t count, T scale, T& log_sum) {
  const T highest = largest(row, count) * scale, sum = exponentials(row, count, scale, highest), inverse = 1 / sum;
  for (int64_t j = 0; j < count; ++j) row[j] *= inverse;
  log_sum = highest + std::log(sum);
}

template <class T>
void forward_tile(const Tile& tile, const T* q, const T* k, const T* v, T* out, T* log_sums, int64_t width, int64_t depth, T* scores) {
  const int64_t column = tile.head * depth;
  const T scale = 1 / std::sqrt(static_cast<T>(depth));
  gemm_nt(tile.queries, tile.keys, depth, T(1), q + tile.query_row * width + column, width, k + tile.key_row * width + column,
          width, T(0), scores, tile.keys);
  for (int64_t i = 0; i < tile.queries; ++i) softmax_row(scores + i * tile.keys, tile.keys, scale, log_sums[i]);
  gemm_nn(tile.queries, depth, tile.keys, T(1), scores, tile.keys, v + tile.key_row * width + column, width, T(0),
          out + tile.query_row * width + column, width);
}

template <class T>
struct Gradients {
  T *dq, *dk, *dv;
};

template <class T>
void backward_tile(const Tile& tile, const T* q, const T* k, const T* v, const T* out, const T* dout, const T* log_sums,
                   Gradients<T> grad, int64_t width, int64_t depth, T* p, T* ds) {
  const int64_t column = tile.head * depth, rows = tile.queries, keys = tile.keys;
  const int64_t at_query = tile.query_row * width + column, at_key = tile.key_row * width + column;
  const T scale = 1 / std::sqrt(static_cast<T>(depth));
  gemm_nt(rows, keys, depth, T(1), q + at_query, width, k + at_key, width, T(0), p, keys);
  gemm_nt(rows, keys, depth, T(1), dout + at_query, width, v + at_key, width, T(0), ds, keys);
  for (int64_t i = 0; i < rows; ++i) {
    const T *o = out + at_query + i * width, *d = dout + at_query + i * width;
    T mean = 0;  // Σ_j P_ij·dP_ij, which equals the row product of output and its gradient
    for (int64_t c = 0; c < depth; ++c) mean += o[c] * d[c];
    T *probabilities = p + i * keys, *gradients = ds + i * keys;
    exponentials(probabilities, keys, scale, log_sums[i]);
    for (int64_t j = 0; j < keys; ++j) gradients[j] = probabilities[j] * (gradients[j] - mean) * scale;
  }
  gemm_tn(keys, depth, rows, T(1), p, keys, dout + at_query, width, T(0), grad.dv + at_key, width);
  gemm_nn(rows, depth, keys, T(1), ds, keys, k + at_key, width, T(0), grad.dq + at_query, width);
  gemm_tn(keys, depth, rows, T(1), ds, keys, q + at_query, width, T(0), grad.dk + at_key, width);
}

/// Runs body(tile index, scratch) for every tile, with `buffers` score matrices of scratch a thread.
template <class T, class Body>
void for_each_tile(const std::vector<Tile>& tiles, int64_t buffers, Body&& body) {
  const int64_t size = buffers * most_scores(tiles);
  at::parallel_for(0, static_cast<int64_t>(tiles.size()), 1, [&](int64_t begin, int64_t end) {
    std::vector<T> scratch(static_cast<size_t>(size));
    for (int64_t t = begin; t < end; ++t) body(t, scratch.data());
  });
}

std::vector<int64_t> statistics_offsets(const std::vector<Tile>& tiles) {
  std::vector<int64_t> offsets{0};
  for (const Tile& tile : tiles) offsets.push_back(offsets.back() + tile.queries);
  return offsets;
}

/// The kernels work in float32 or float64; narrower inputs are widened for the call.
struct PackedAttention : torch::autograd::Function<PackedAttention> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q_in, const at::Tensor& k_in, const at::Tensor& v_in,
                            const std::vector<int64_t>& query_offsets, const std::vector<int64_t>& key_offsets, int64_t heads) {
    const auto work = q_in.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor q = q_in.to(work).contiguous(), k = k_in.to(work).contiguous(), v = v_in.to(work).contiguous();
    const int64_t width = q.size(1);
    const auto tiles = tiles_of(query_offsets, key_offsets, heads);
    const auto at_statistics = statistics_offsets(tiles);
    at::Tensor out = at::empty_like(q), log_sums = at::empty({at_statistics.back()}, q.options());
    AT_DISPATCH_FLOATING_TYPES(work, "packed_attention", [&] {
      for_each_tile<scalar_t>(tiles, 1, [&](int64_t t, scalar_t* scratch) {
        forward_tile(tiles[t], q.const_data_ptr<scalar_t>(), k.const_data_ptr<scalar_t>(), v.const_data_ptr<scalar_t>(),
                     out.mutable_data_ptr<scalar_t>(), log_sums.mutable_data_ptr<scalar_t>() + at_statistics[t], width, width / heads,
                     scratch);
      });
    });
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
    const int64_t heads = ctx->saved_data["heads"].toInt(), width = q.size(1);
    const auto tiles = tiles_of(ctx->saved_data["query_offsets"].toIntVector(), ctx->saved_data["key_offsets"].toIntVector(), heads);
    const auto at_statistics = statistics_offsets(tiles);
    at::Tensor dq = at::empty_like(q), dk = at::empty_like(k), dv = at::empty_like(v);
    AT_DISPATCH_FLOATING_TYPES(work, "packed_attention_backward", [&] {
      const Gradients<scalar_t> grad{dq.mutable_data_ptr<scalar_t>(), dk.mutable_data_ptr<scalar_t>(), dv.mutable_data_ptr<scalar_t>()};
      const int64_t most = most_scores(tiles);
      for_each_tile<scalar_t>(tiles, 2, [&](int64_t t, scalar_t* scratch) {
        backward_tile(tiles[t], q.const_data_ptr<scalar_t>(), k.const_data_ptr<scalar_t>(), v.const_data_ptr<scalar_t>(),
                      out.const_data_ptr<scalar_t>(), dout.const_data_ptr<scalar_t>(),
                      log_sums.const_data_ptr<scalar_t>() + at_statistics[t], grad, width, width / heads, scratch, scratch + most);
      });
    });
    return {dq.to(dtype), dk.to(dtype), dv.to(dtype), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

/// The plain twin, for devices without a kernel here: one library attention call a sequence.
at::Tensor by_sequence(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const std::vector<int64_t>& query_offsets,
                       const std::vector<int64_t>& key_offsets, int64_t heads) {
  const auto split = [&](const at::Tensor& x, int64_t begin, int64_t end) {
    return x.slice(0, begin, end).view({1, end - begin, heads, x.size(1) / heads}).transpose(1, 2);
  };
  std::vector<at::Tensor> parts;
  for (size_t s = 0; s + 1 < key_offsets.size(); ++s) {
    const at::Tensor y = at::scaled_dot_product_attention(split(q, query_offsets[s], query_offsets[s + 1]),
                                                          split(k, key_offsets[s], key_offsets[s + 1]),
                                                          split(v, key_offsets[s], key_offsets[s + 1]));
    parts.push_back(y.transpose(1, 2).reshape({-1, q.size(1)}));
  }
  return at::cat(parts);
}

}  // namespace

at::Tensor packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const std::vector<int64_t>& query_offsets,
                            const std::vector<int64_t>& key_offsets, int64_t heads) {
  check(q.size(1) % heads == 0, ErrorKind::shape, "packed_attention", "expected a width that {} heads divide, got {}", heads, q.size(1));
  check(q.size(0) == query_offsets.back() && k.size(0) == key_offsets.back() && v.size(0) == key_offsets.back(), ErrorKind::shape,
        "packed_attention", "expected {} query and {} key rows, got {}, {} and {}", query_offsets.back(), key_offsets.back(),
        q.size(0), k.size(0), v.size(0));
  RECORD_FUNCTION("lowrank::packed_attention", std::vector<c10::IValue>{});
  if (!q.is_cpu()) return by_sequence(q, k, v, query_offsets, key_offsets, heads);
  return PackedAttention::apply(q, k, v, query_offsets, key_offsets, heads);
}

}  // namespace lowrank::kernels
