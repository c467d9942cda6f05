#include "lowrank/kernels/blocks.h"

#include <ATen/ops/kron.h>
#include <ATen/ops/randn.h>
#include <torch/csrc/autograd/autograd.h>

#include "support/expect_error.h"

namespace lowrank::kernels {
namespace {

TEST(ProjectBlocks, ProjectsEachBlockOfTheInput) {
  at::manual_seed(1);
  const at::Tensor x = at::randn({2, 3, 12}, at::kDouble).requires_grad_(), m = at::randn({5, 4}, at::kDouble).requires_grad_();
  const at::Tensor y = project_blocks(x, m, 3);
  const at::Tensor expected = x.view({2, 3, 3, 4}).matmul(m.t()).permute({2, 0, 1, 3});
  ASSERT_EQ(y.sizes(), at::IntArrayRef({3, 2, 3, 5}));
  EXPECT_LT((y - expected).abs().max().item<double>(), 1e-12);
  const at::Tensor weight = at::randn(y.sizes(), at::kDouble);
  const auto got = torch::autograd::grad({(y * weight).sum()}, {x, m});
  const auto wanted = torch::autograd::grad({(expected * weight).sum()}, {x, m});
  for (size_t i = 0; i < 2; ++i) EXPECT_LT((got[i] - wanted[i]).abs().max().item<double>(), 1e-12);
}

TEST(AddExpandedBlocks, FillsEachBlockOfTheOutput) {
  at::manual_seed(2);
  const at::Tensor y0 = at::randn({7, 12}, at::kDouble), h = at::randn({3, 7, 2}, at::kDouble).requires_grad_(),
                   m = at::randn({4, 2}, at::kDouble).requires_grad_();
  const at::Tensor y = add_expanded_blocks(y0.clone(), h, m, 0.5);
  const at::Tensor expected = y0 + 0.5 * h.matmul(m.t()).permute({1, 0, 2}).reshape({7, 12});
  EXPECT_LT((y - expected).abs().max().item<double>(), 1e-12);
  const at::Tensor weight = at::randn(y.sizes(), at::kDouble);
  const auto got = torch::autograd::grad({(y * weight).sum()}, {h, m});
  const auto wanted = torch::autograd::grad({(expected * weight).sum()}, {h, m});
  for (size_t i = 0; i < 2; ++i) EXPECT_LT((got[i] - wanted[i]).abs().max().item<double>(), 1e-12);
}

TEST(Blocks, TogetherTheyAreAKroneckerProduct) {
  const at::Tensor x = at::randn({9, 6}, at::kDouble), w1 = at::randn({2, 3}, at::kDouble), w2 = at::randn({4, 2}, at::kDouble);
  const at::Tensor mixed = w1.mm(project_blocks(x, w2, 3).view({3, -1})).view({2, 9, 4});
  const at::Tensor y = add_expanded_blocks(at::zeros({9, 8}, at::kDouble), mixed, at::eye(4, at::kDouble), 1.0);
  EXPECT_LT((y - x.mm(at::kron(w1, w2).t())).abs().max().item<double>(), 1e-12);
}

}  // namespace
}  // namespace lowrank::kernels
