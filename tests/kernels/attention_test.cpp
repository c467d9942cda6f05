#include "lowrank/kernels/attention.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randn_like.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <torch/csrc/autograd/autograd.h>

#include "support/expect_error.h"

namespace lowrank::kernels {
namespace {

/// Written from the definition: one library attention a sequence and head.
at::Tensor plain(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const std::vector<int64_t>& query_offsets,
                 const std::vector<int64_t>& key_offsets, int64_t heads) {
  const int64_t depth = q.size(1) / heads;
  std::vector<at::Tensor> sequences;
  for (size_t s = 0; s + 1 < key_offsets.size(); ++s) {
    std::vector<at::Tensor> columns;
    for (int64_t h = 0; h < heads; ++h) {
      const auto part = [&](const at::Tensor& x, const std::vector<int64_t>& offsets) {
        return x.slice(0, offsets[s], offsets[s + 1]).slice(1, h * depth, (h + 1) * depth);
      };
      const at::Tensor scores = part(q, query_offsets).mm(part(k, key_offsets).t()) / std::sqrt(static_cast<double>(depth));
      columns.push_back(scores.softmax(1).mm(part(v, key_offsets)));
    }
    sequences.push_back(at::cat(columns, 1));
  }
  return at::cat(sequences);
}

/// Rows with gradients, and what weighs the result in the loss.
struct Inputs {
  Inputs(int64_t queries, int64_t keys, int64_t width, c10::ScalarType dtype) {
    at::manual_seed(1);
    for (const int64_t rows : {queries, keys, keys}) leaves.push_back(at::randn({rows, width}, at::kDouble).to(dtype).requires_grad_());
    weight = at::randn({queries, width}, at::kDouble).to(dtype);
  }
  std::vector<at::Tensor> leaves;
  at::Tensor weight;

  /// The result of attention(q, k, v) and the gradients of q, k and v.
  template <class Attention>
  std::vector<at::Tensor> results(c10::ScalarType dtype, Attention&& attention) const {
    std::vector<at::Tensor> x;
    for (const at::Tensor& leaf : leaves) x.push_back(leaf.to(dtype));
    at::Tensor y = attention(x[0], x[1], x[2]);
    auto all = torch::autograd::grad({y}, x, {weight.to(dtype)});
    all.insert(all.begin(), y);
    return all;
  }
};

struct Case {
  std::vector<int64_t> query_offsets, key_offsets;
  int64_t heads, depth = 4;
};

class PackedAttention : public testing::TestWithParam<Case> {};

TEST_P(PackedAttention, EqualsTheDefinitionWithAllGradients) {
  const auto& [query_offsets, key_offsets, heads, depth] = GetParam();
  const Inputs inputs(query_offsets.back(), key_offsets.back(), heads * depth, at::kDouble);
  const auto run = [&](auto&& attention) {
    return inputs.results(at::kDouble, [&](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
      return attention(q, k, v, query_offsets, key_offsets, heads);
    });
  };
  const auto got = run(packed_attention), wanted = run(plain);
  for (size_t i = 0; i < 4; ++i) EXPECT_LT((got[i] - wanted[i]).abs().max().item<double>(), 1e-12) << "result " << i;
}

INSTANTIATE_TEST_SUITE_P(Shapes, PackedAttention,
                         testing::Values(Case{{0, 5}, {0, 5}, 1}, Case{{0, 1, 8, 20}, {0, 1, 8, 20}, 3},
                                         Case{{0, 1, 2, 3}, {0, 4, 5, 17}, 2}, Case{{0, 3, 9}, {0, 3, 9}, 2, 5},
                                         Case{{0, 300}, {0, 300}, 1, 4}));

class NarrowAttention : public testing::TestWithParam<Case> {};

/// 1/256 is a bfloat16's half unit: results and operands are rounded that far. Observed: 0.0017 to 0.0029 of the norm.
TEST_P(NarrowAttention, Bfloat16IsNearTheDefinitionInFloat64) {
  const auto& [query_offsets, key_offsets, heads, depth] = GetParam();
  const Inputs inputs(query_offsets.back(), key_offsets.back(), heads * depth, at::kBFloat16);
  const auto run = [&](c10::ScalarType dtype, auto&& attention) {
    return inputs.results(dtype, [&](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
      return attention(q, k, v, query_offsets, key_offsets, heads);
    });
  };
  const auto got = run(at::kBFloat16, packed_attention), wanted = run(at::kDouble, plain);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(got[i].scalar_type(), at::kBFloat16);
    const double distance = (got[i].to(at::kDouble) - wanted[i]).norm().item<double>() / wanted[i].norm().item<double>();
    EXPECT_LT(distance, 0.005) << "result " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, NarrowAttention,
                         testing::Values(Case{{0, 64, 128}, {0, 64, 128}, 3, 32}, Case{{0, 1, 8, 45}, {0, 1, 8, 45}, 2, 40},
                                         Case{{0, 1, 2, 3}, {0, 4, 37, 55}, 2, 64}, Case{{0, 300}, {0, 300}, 1, 32},
                                         Case{{0, 9, 26}, {0, 9, 26}, 2, 7}));

TEST(BatchAttention, EqualsPackedAttentionWithAllGradients) {
  at::manual_seed(2);
  for (const int64_t queries : {1, 5}) {
    const auto leaf = [&](int64_t rows) { return at::randn({rows, 6}, at::kDouble).requires_grad_(); };
    const at::Tensor q = leaf(3 * queries), k = leaf(15), v = leaf(15), weight = at::randn({3 * queries, 6}, at::kDouble);
    const at::Tensor ours = batch_attention(q, k, v, 3, 2);
    const at::Tensor packed = packed_attention(q, k, v, {0, queries, 2 * queries, 3 * queries}, {0, 5, 10, 15}, 2);
    EXPECT_LT((ours - packed).abs().max().item<double>(), 1e-12);
    const auto got = torch::autograd::grad({(ours * weight).sum()}, {q, k, v});
    const auto wanted = torch::autograd::grad({(packed * weight).sum()}, {q, k, v});
    for (size_t i = 0; i < 3; ++i) EXPECT_LT((got[i] - wanted[i]).abs().max().item<double>(), 1e-12) << queries << ", input " << i;
  }
}

TEST(BatchAttention, InBfloat16IsNearFloat64) {
  for (const int64_t keys : {7, 70}) {
    at::manual_seed(5);
    std::vector<at::Tensor> narrow, wide;
    for (const int64_t rows : {int64_t{210}, 3 * keys, 3 * keys}) {
      narrow.push_back(at::randn({rows, 4 * 24}).to(at::kBFloat16).requires_grad_());
      wide.push_back(narrow.back().detach().to(at::kDouble).requires_grad_());
    }
    const at::Tensor got = batch_attention(narrow[0], narrow[1], narrow[2], 3, 4),
                     wanted = batch_attention(wide[0], wide[1], wide[2], 3, 4);
    const auto near = [](const at::Tensor& a, const at::Tensor& b) {
      return (a.to(at::kDouble) - b).norm().item<double>() / b.norm().item<double>();
    };
    EXPECT_LT(near(got, wanted), 5e-3);
    const at::Tensor weight = at::randn(wanted.sizes(), at::kDouble);
    const auto gradients = torch::autograd::grad({(got * weight.to(at::kBFloat16)).sum()}, narrow),
               exact = torch::autograd::grad({(wanted * weight).sum()}, wide);
    for (size_t i = 0; i < 3; ++i) EXPECT_LT(near(gradients[i], exact[i]), 1e-2) << keys << " keys, input " << i;
  }
}

TEST(BatchAttention, RowsMustBeShared) {
  const at::Tensor x = at::randn({7, 6});
  EXPECT_LOWRANK_ERROR(batch_attention(x, x, x, 3, 2), ErrorKind::shape, "3 sequences share evenly, got 7 queries");
  EXPECT_LOWRANK_ERROR(batch_attention(x, x, x, 7, 4), ErrorKind::shape, "4 heads divide, got 6");
}

TEST(PackedAttentionErrors, WidthMustDivide) {
  const at::Tensor x = at::randn({3, 10});
  EXPECT_LOWRANK_ERROR(packed_attention(x, x, x, {0, 3}, {0, 3}, 4), ErrorKind::shape, "4 heads divide, got 10");
  EXPECT_LOWRANK_ERROR(packed_attention(x, x, x, {0, 2}, {0, 2}, 2), ErrorKind::shape, "expected 2 query and 2 key rows");
}

TEST(PackedAttention, LargeScoresDoNotOverflow) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const Inputs inputs(6, 6, 8, dtype);
    const auto results = inputs.results(dtype, [&](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
      return packed_attention(200 * q, k, v, {0, 6}, {0, 6}, 2);
    });
    for (const at::Tensor& result : results) EXPECT_TRUE(result.isfinite().all().item<bool>()) << dtype;
  }
}

TEST(PackedAttention, NegativeScoresOfAllKeysDoNotOverflow) {
  const at::Tensor ones = at::ones({5, 32}).to(at::kBFloat16), x = 12 * ones;
  std::vector<at::Tensor> leaves{x.clone().requires_grad_(), (-x).requires_grad_(), at::randn_like(x).requires_grad_()};
  const at::Tensor y = packed_attention(leaves[0], leaves[1], leaves[2], {0, 5}, {0, 5}, 1);  // scores of −815
  for (const at::Tensor& gradient : torch::autograd::grad({y}, leaves, {ones})) EXPECT_TRUE(gradient.isfinite().all().item<bool>());
}

}  // namespace
}  // namespace lowrank::kernels
