#include "lowrank/kernels/attention.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/randn.h>
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

struct Case {
  std::vector<int64_t> query_offsets, key_offsets;
  int64_t heads, depth = 4;
};

class PackedAttention : public testing::TestWithParam<Case> {};

TEST_P(PackedAttention, EqualsTheDefinitionWithAllGradients) {
  const auto& [query_offsets, key_offsets, heads, depth] = GetParam();
  const int64_t width = heads * depth;
  at::manual_seed(1);
  const auto leaf = [&](int64_t rows) { return at::randn({rows, width}, at::kDouble).requires_grad_(); };
  const at::Tensor q = leaf(query_offsets.back()), k = leaf(key_offsets.back()), v = leaf(key_offsets.back());
  const at::Tensor weight = at::randn({query_offsets.back(), width}, at::kDouble);
  const at::Tensor ours = packed_attention(q, k, v, query_offsets, key_offsets, heads);
  const at::Tensor expected = plain(q, k, v, query_offsets, key_offsets, heads);
  EXPECT_LT((ours - expected).abs().max().item<double>(), 1e-12);
  const auto got = torch::autograd::grad({(ours * weight).sum()}, {q, k, v});
  const auto wanted = torch::autograd::grad({(expected * weight).sum()}, {q, k, v});
  for (size_t i = 0; i < 3; ++i) EXPECT_LT((got[i] - wanted[i]).abs().max().item<double>(), 1e-12) << "input " << i;
}

INSTANTIATE_TEST_SUITE_P(Shapes, PackedAttention,
                         testing::Values(Case{{0, 5}, {0, 5}, 1}, Case{{0, 1, 8, 20}, {0, 1, 8, 20}, 3},
                                         Case{{0, 1, 2, 3}, {0, 4, 5, 17}, 2}, Case{{0, 3, 9}, {0, 3, 9}, 2, 5}));

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
  const at::Tensor q = 200 * at::randn({6, 8}), v = at::randn({6, 8});
  EXPECT_TRUE(packed_attention(q, q, v, {0, 6}, {0, 6}, 2).isfinite().all().item<bool>());
}

}  // namespace
}  // namespace lowrank::kernels
