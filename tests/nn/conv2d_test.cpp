#include "lowrank/nn/conv2d.h"

#include <ATen/ops/conv2d.h>
#include <ATen/ops/randn.h>

#include "support/expect_close.h"
#include "support/expect_error.h"
#include "support/tolerance.h"

namespace lowrank::nn {
namespace {

using test::close;

TEST(Conv2d, ShowsItselfAsAMatrixOfGroupsAndTaps) {
  const Conv2d conv({.in = 6, .out = 4, .kernel = {3, 2}, .dilation = {1, 2}, .groups = 2, .with_bias = false});
  const HostShape shape = conv.shape();
  EXPECT_EQ(std::tuple(shape.out, shape.in, shape.taps(), shape.channels(), shape.groups), std::tuple(4, 18, 6, 3, 2));
  EXPECT_TRUE(shape.dilated && shape.is_convolution());
  EXPECT_EQ(conv.matrix().sizes(), at::IntArrayRef({4, 18}));
  EXPECT_EQ(shape.kernels(5, 3), (std::vector<int64_t>{5, 3, 3, 2}));
  EXPECT_EQ(shape.pointwise(5, 3), (std::vector<int64_t>{5, 3, 1, 1}));
}

TEST(Conv2d, IsTheLibrarysConvolution) {
  at::manual_seed(1);
  Conv2d conv({.in = 6, .out = 4, .kernel = {3, 2}, .stride = {2, 1}, .padding = {1, 2}, .dilation = {1, 2}, .groups = 2});
  conv.set_weight(at::randn(conv.weight().sizes()));
  conv.set_bias(at::randn({4}));
  const at::Tensor x = at::randn({2, 6, 5, 7});
  EXPECT_TRUE(close(conv.forward(x),
                    at::conv2d(x, conv.weight(), conv.bias(), at::IntArrayRef({2, 1}), at::IntArrayRef({1, 2}), at::IntArrayRef({1, 2}), 2),
                    0));
}

TEST(Conv2d, ScalesChannelsOfAllPicturesOrOfEach) {
  const Conv2d conv({.in = 2, .out = 3});
  const at::Tensor y = at::randn({2, 3, 4, 5}), all = at::randn({3}), each = at::randn({2, 3});
  for (int64_t picture = 0; picture < 2; ++picture) {
    for (int64_t channel = 0; channel < 3; ++channel) {
      const at::Tensor plane = y[picture][channel];
      EXPECT_TRUE(close(conv.scale_outputs(y, all)[picture][channel], plane * all[channel], 0));
      EXPECT_TRUE(close(conv.scale_outputs(y, each)[picture][channel], plane * each[picture][channel], 0));
    }
  }
}

TEST(Conv2d, RefusesGroupsThatDoNotDivide) {
  EXPECT_LOWRANK_ERROR(Conv2d({.in = 6, .out = 4, .groups = 3}), ErrorKind::invalid_argument,
                       "expected groups that divide 6 input and 4 output channels, got 3");
}

}  // namespace
}  // namespace lowrank::nn
