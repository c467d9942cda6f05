#include "lowrank/kernels/attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/_efficient_attention_forward.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/tensor.h>
#include <ATen/record_function.h>
#include <algorithm>
#include <cmath>
#include <torch/csrc/autograd/custom_function.h>

#include "lowrank/base/error.h"
#include "lowrank/kernels/attention_bfloat16.h"
#include "lowrank/kernels/attention_vector.h"
#include "lowrank/tensor/parallel.h"

namespace lowrank::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

std::vector<AttentionTile> tiles_of(const std::vector<int64_t>& query_offsets, const std::vector<int64_t>& key_offsets, int64_t heads) {
  std::vector<AttentionTile> tiles;
  int64_t statistics = 0;
  for (size_t s = 0; s + 1 < key_offsets.size(); ++s) {
    const int64_t queries = query_offsets[s + 1] - query_offsets[s];
    for (int64_t head = 0; head < heads; ++head, statistics += queries)
      tiles.push_back({query_offsets[s], queries, key_offsets[s], key_offsets[s + 1] - key_offsets[s], head, statistics});
  }
  return tiles;
}

/// body(arithmetic of one thread, tile) for every tile.
template <class Arithmetic, class Body>
void for_each_tile(const std::vector<AttentionTile>& tiles, const AttentionInput<typename Arithmetic::Number>& in, Body&& body) {
  const auto count = static_cast<int64_t>(tiles.size()), grain = std::max<int64_t>(1, count / (8 * at::get_num_threads()));
  tensor::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) {
    Arithmetic arithmetic(in);
    for (int64_t t = begin; t < end; ++t) body(arithmetic, tiles[static_cast<size_t>(t)]);
  });
}

/// Calls body<Arithmetic>() for how numbers of this dtype are multiplied.
template <class Body>
void with_arithmetic(c10::ScalarType dtype, Body&& body) {
  if (dtype == at::kBFloat16)
    body.template operator()<TileAttention>();
  else if (dtype == at::kDouble)
    body.template operator()<VectorAttention<double>>();
  else
    body.template operator()<VectorAttention<float>>();
}

/// The dtype that inputs are brought to for the call.
c10::ScalarType work_dtype(c10::ScalarType dtype) {
  return dtype == at::kDouble || (dtype == at::kBFloat16 && has_tiles()) ? dtype : at::kFloat;
}

template <class T>
AttentionInput<T> input(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t heads, double scale) {
  return {q.const_data_ptr<T>(), k.const_data_ptr<T>(), v.const_data_ptr<T>(), q.size(1), q.size(1) / heads, scale};
}

struct PackedAttention : torch::autograd::Function<PackedAttention> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q_in, const at::Tensor& k_in, const at::Tensor& v_in,
                            const std::vector<int64_t>& query_offsets, const std::vector<int64_t>& key_offsets, int64_t heads,
                            double scale) {
    const auto work = work_dtype(q_in.scalar_type());
    const at::Tensor q = q_in.to(work).contiguous(), k = k_in.to(work).contiguous(), v = v_in.to(work).contiguous();
    const auto tiles = tiles_of(query_offsets, key_offsets, heads);
    at::Tensor out = at::empty_like(q), statistics;
    with_arithmetic(work, [&]<class Arithmetic>() {
      using Number = typename Arithmetic::Number;
      using Sum = typename Arithmetic::Sum;
      statistics = at::empty({q.size(0) * heads * Arithmetic::kStatistics}, q.options().dtype(c10::CppTypeToScalarType<Sum>::value));
      auto* to = out.mutable_data_ptr<Number>();
      auto* sums = statistics.mutable_data_ptr<Sum>();
      for_each_tile<Arithmetic>(tiles, input<Number>(q, k, v, heads, scale),
                                [&](Arithmetic& arithmetic, const AttentionTile& tile) { arithmetic.forward(tile, to, sums); });
    });
    ctx->saved_data["scale"] = scale;
    ctx->saved_data["heads"] = heads;
    ctx->saved_data["query_offsets"] = query_offsets;
    ctx->saved_data["key_offsets"] = key_offsets;
    const at::Tensor result = out.to(q_in.scalar_type());
    ctx->save_for_backward({q_in, k_in, v_in, result, statistics});
    return result;
  }

  static tensor_list backward(AutogradContext* ctx, tensor_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto dtype = saved[0].scalar_type(), work = work_dtype(dtype);
    const at::Tensor q = saved[0].to(work).contiguous(), k = saved[1].to(work).contiguous(), v = saved[2].to(work).contiguous(),
                     out = saved[3].to(work).contiguous(), &statistics = saved[4], dout = grads[0].to(work).contiguous();
    const int64_t heads = ctx->saved_data["heads"].toInt();
    const auto tiles = tiles_of(ctx->saved_data["query_offsets"].toIntVector(), ctx->saved_data["key_offsets"].toIntVector(), heads);
    at::Tensor dq = at::empty_like(q), dk = at::empty_like(k), dv = at::empty_like(v);
    with_arithmetic(work, [&]<class Arithmetic>() {
      using Number = typename Arithmetic::Number;
      const AttentionGradients<Number> grad{out.const_data_ptr<Number>(), dout.const_data_ptr<Number>(), dq.mutable_data_ptr<Number>(),
                                            dk.mutable_data_ptr<Number>(), dv.mutable_data_ptr<Number>()};
      const auto* sums = statistics.const_data_ptr<typename Arithmetic::Sum>();
      for_each_tile<Arithmetic>(tiles, input<Number>(q, k, v, heads, ctx->saved_data["scale"].toDouble()),
                                [&](Arithmetic& arithmetic, const AttentionTile& tile) { arithmetic.backward(tile, grad, sums); });
    });
    return {dq.to(dtype), dk.to(dtype), dv.to(dtype), at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

at::Tensor as_int(const std::vector<int64_t>& offsets, c10::Device device) { return at::tensor(offsets, at::kInt).to(device); }

int64_t longest(const std::vector<int64_t>& offsets) {
  int64_t most = 0;
  for (size_t s = 0; s + 1 < offsets.size(); ++s) most = std::max(most, offsets[s + 1] - offsets[s]);
  return most;
}

/// The library's attention over packed rows, which only CUDA has and not for float64.
at::Tensor by_offsets(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const std::vector<int64_t>& query_offsets,
                      const std::vector<int64_t>& key_offsets, int64_t heads) {
  const auto split = [&](const at::Tensor& x) { return x.reshape({1, -1, heads, x.size(1) / heads}); };
  const at::Tensor y = std::get<0>(at::_efficient_attention_forward(
      split(q), split(k), split(v), /*bias=*/{}, as_int(query_offsets, q.device()), as_int(key_offsets, q.device()), longest(query_offsets),
      longest(key_offsets), /*dropout_p=*/0.0, /*custom_mask_type=*/0, /*compute_log_sumexp=*/at::GradMode::is_enabled()));
  return y.reshape({-1, q.size(1)});
}

/// The plain twin, for what has no kernel: one library attention call a sequence.
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

namespace {

/// Where the sequences of equal length begin, and the end.
std::vector<int64_t> even_offsets(int64_t rows, int64_t sequences) {
  std::vector<int64_t> offsets;
  for (int64_t s = 0; s <= sequences; ++s) offsets.push_back(rows / sequences * s);
  return offsets;
}

}  // namespace

at::Tensor batch_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t sequences, int64_t heads) {
  const int64_t width = q.size(1);
  check(width % heads == 0, ErrorKind::shape, "batch_attention", "expected a width that {} heads divide, got {}", heads, width);
  check(q.size(0) % sequences == 0 && k.size(0) % sequences == 0 && k.sizes() == v.sizes(), ErrorKind::shape, "batch_attention",
        "expected rows that {} sequences share evenly, got {} queries, {} keys and {} values", sequences, q.size(0), k.size(0), v.size(0));
  // Enough heads for all threads, and a matrix unit: see the header for what it gains.
  if (q.is_cpu() && q.scalar_type() == at::kBFloat16 && has_tiles() && sequences * heads >= at::get_num_threads() && q.size(0) > 0)
    return packed_attention(q, k, v, even_offsets(q.size(0), sequences), even_offsets(k.size(0), sequences), heads);
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
  if (q.is_cuda() && q.scalar_type() != at::kDouble) return by_offsets(q, k, v, query_offsets, key_offsets, heads);
  if (!q.is_cpu()) return by_sequence(q, k, v, query_offsets, key_offsets, heads);
  const int64_t depth = q.size(1) / heads, lanes = q.scalar_type() == at::kDouble ? kNarrowLanes<double> : kNarrowLanes<float>;
  const int64_t padding = work_dtype(q.scalar_type()) == at::kBFloat16 ? 0 : (lanes - depth % lanes) % lanes;
  const double scale = 1 / std::sqrt(static_cast<double>(depth));
  if (padding == 0) return PackedAttention::apply(q, k, v, query_offsets, key_offsets, heads, scale);
  // Zeros at the end of a head change no score, and what they give is cut away again.
  const auto padded = [&](const at::Tensor& x) { return at::constant_pad_nd(x.reshape({-1, heads, depth}), {0, padding}).flatten(1); };
  const at::Tensor y = PackedAttention::apply(padded(q), padded(k), padded(v), query_offsets, key_offsets, heads, scale);
  return y.view({-1, heads, depth + padding}).slice(2, 0, depth).flatten(1);
}

}  // namespace lowrank::kernels
