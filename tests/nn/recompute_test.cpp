// Parts that run again in the backward pass, and where new layers put their weights.
#include "lowrank/nn/recompute.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "support/expect_close.h"
#include "support/fixed_init.h"

#include "lowrank/nn/conv2d.h"
#include "lowrank/nn/group_norm.h"
#include "lowrank/nn/linear.h"
#include "lowrank/nn/new_weights.h"

namespace lowrank::nn {

TEST(Recompute, RunsAgainAndGivesTheGradientsOfInputsAndParameters) {
  const at::Tensor x = test::fixed({3, 4}, 1).set_requires_grad(true), w = test::fixed({5, 4}, 2).set_requires_grad(true);
  const at::Tensor constant = test::fixed({3, 5}, 3);
  int runs = 0;
  const auto part = [&](const std::vector<at::Tensor>& in) {
    ++runs;
    return at::tanh(at::linear(in[0], w)) * in[1];
  };
  part({x, constant}).pow(2).sum().backward();
  const at::Tensor x_gradient = x.grad().clone(), w_gradient = w.grad().clone();
  x.mutable_grad() = w.mutable_grad() = at::Tensor();
  recompute(part, {x, constant}).pow(2).sum().backward();
  EXPECT_EQ(runs, 3);
  EXPECT_TRUE(test::close(x.grad(), x_gradient, 1e-14));
  EXPECT_TRUE(test::close(w.grad(), w_gradient, 1e-14));
}

TEST(Recompute, ReachesParametersWhenNoInputAsksForGradients) {
  const at::Tensor x = test::fixed({3, 4}, 1), w = test::fixed({5, 4}, 2).set_requires_grad(true);
  const auto part = [w](const std::vector<at::Tensor>& in) { return at::linear(in[0], w); };
  recompute(part, {x}).sum().backward();
  EXPECT_TRUE(test::close(w.grad(), x.sum(0).expand({5, 4}), 1e-14));
}

TEST(Recompute, IsJustRunWithoutGradients) {
  const at::NoGradGuard no_grad;
  const at::Tensor y = recompute([](const std::vector<at::Tensor>& in) { return in[0] * 2; }, {at::ones({2})});
  EXPECT_FALSE(y.requires_grad());
}

TEST(NewWeights, DecideDtypeAndDeviceWhileTheyLive) {
  {
    const NewWeights no_memory{c10::TensorOptions().device(at::kMeta)};
    const NewWeights narrow{c10::TensorOptions().dtype(at::kBFloat16)};
    EXPECT_EQ(Linear(3, 2).weight().scalar_type(), at::kBFloat16);
    EXPECT_EQ(GroupNorm(1, 2, 1e-5).parameters().front().scalar_type(), at::kBFloat16);
  }
  {
    const NewWeights no_memory{c10::TensorOptions().device(at::kMeta)};
    const Conv2d vast({.in = 1 << 20, .out = 1 << 20});  // 4 TB
    EXPECT_TRUE(vast.weight().is_meta());
    EXPECT_EQ(vast.shape().out, 1 << 20);
  }
  {
    const NewWeights replaced({}, NewWeightsAre::replaced);
    const Conv2d vast({.in = 1 << 20, .out = 1 << 20});
    EXPECT_EQ(vast.weight().storage().nbytes(), sizeof(float));
    EXPECT_EQ(vast.weight().sizes(), at::IntArrayRef({1 << 20, 1 << 20, 1, 1}));
    EXPECT_EQ(GroupNorm(1, 2, 1e-5).parameters().front().sum().item<float>(), 2);
  }
  EXPECT_EQ(Linear(3, 2).weight().scalar_type(), at::kFloat);
  EXPECT_TRUE(Linear(3, 2).weight().is_cpu());
}

}  // namespace lowrank::nn
