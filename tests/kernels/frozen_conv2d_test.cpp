#include "lowrank/kernels/frozen_conv2d.h"

#include <ATen/ops/conv2d.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/kron.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "lowrank/kernels/lowrank_conv2d.h"
#include "lowrank/kernels/matrix_unit.h"

namespace lowrank::kernels {
namespace {

at::Tensor narrow(at::IntArrayRef shape) { return at::randn(shape).to(at::kBFloat16); }

double distance(const at::Tensor& got, const at::Tensor& wanted) {
  const at::Tensor a = got.to(at::kDouble), b = wanted.to(at::kDouble);
  return ((a - b).norm() / b.norm()).item<double>();
}

constexpr ConvGeometry kSame{{3, 3}, {1, 1}, {1, 1}, {1, 1}}, kWide{{3, 2}, {1, 1}, {2, 0}, {1, 1}},
    kStrided{{3, 3}, {2, 2}, {1, 1}, {1, 1}}, kPointwise{};

class FrozenConv2d : public testing::TestWithParam<ConvGeometry> {
 protected:
  void SetUp() override { at::manual_seed(5); }
};

// Without a matrix unit, and with steps of 2, the same calls are the library's.
TEST_P(FrozenConv2d, IsTheConvolutionAndItsGradient) {
  const ConvGeometry& c = GetParam();
  for (const auto& [pictures, height, width] : {std::array<int64_t, 3>{1, 4, 4}, {2, 7, 5}, {1, 18, 16}}) {
    const at::Tensor x = narrow({pictures, 96, height, width}).requires_grad_(), bias = narrow({160});
    const at::Tensor weight = laid_out(narrow({160, 96, c.kernel[0], c.kernel[1]})).mul_(0.05);
    const at::Tensor y = frozen_conv2d(x, weight, bias, c), dy = narrow(y.sizes());
    const at::Tensor dx = torch::autograd::grad({y}, {x}, {dy})[0];
    const at::Tensor wide = x.detach().to(at::kFloat).requires_grad_();
    const at::Tensor wanted = at::conv2d(wide, weight.to(at::kFloat), bias.to(at::kFloat), c.stride, c.padding, c.dilation);
    EXPECT_LT(distance(y, wanted), 3e-3) << height;  // observed 1.7e-3: one rounding
    EXPECT_LT(distance(dx, torch::autograd::grad({wanted}, {wide}, {dy.to(at::kFloat)})[0]), has_matrix_unit() ? 3e-3 : 6e-3)
        << height;  // the library's own: 4.1e-3
  }
}

TEST_P(FrozenConv2d, WithAnAdapterGivesEveryGradient) {
  const ConvGeometry& c = GetParam();
  for (const bool mixed : {false, true}) {
    const int64_t l = mixed ? 4 : 1, m = mixed ? 2 : 1, k = 96 / l, n = 64 / m, rank = 4;
    const auto leaf = [](at::IntArrayRef shape) { return at::randn(shape).mul_(0.2).requires_grad_(); };
    const at::Tensor x = narrow({2, 64, 6, 5}).requires_grad_(), weight = laid_out(narrow({96, 64, c.kernel[0], c.kernel[1]})).mul_(0.05);
    const at::Tensor A = leaf({rank, n * c.taps()}), B = leaf({k, rank}),
                     gain = mixed ? at::Tensor() : (leaf({96}).detach() + 1).requires_grad_(), mix = mixed ? leaf({l, m}) : at::Tensor(),
                     bias = narrow({96});
    std::vector<at::Tensor> inputs{x, A, B, mixed ? mix : gain};
    const at::Tensor y = lowrank_conv2d(x, weight, bias, c, A, B, 0.7, gain, mix), dy = narrow(y.sizes());
    const auto got = torch::autograd::grad({y}, inputs, {dy});
    std::vector<at::Tensor> wide;
    for (const at::Tensor& input : inputs) wide.push_back(input.detach().to(at::kDouble).requires_grad_());
    const at::Tensor one = at::ones({1, 1}, at::kDouble), update = at::kron(mixed ? wide[3] : one, wide[2].mm(wide[1]));
    at::Tensor adapted = weight.contiguous().to(at::kDouble).flatten(1) + 0.7 * update;
    if (!mixed) adapted = adapted * wide[3].unsqueeze(1);
    const at::Tensor wanted = at::conv2d(wide[0], adapted.view(weight.sizes()), bias.to(at::kDouble), c.stride, c.padding, c.dilation);
    const auto expected = torch::autograd::grad({wanted}, wide, {dy.to(at::kDouble)});
    EXPECT_LT(distance(y, wanted), 6e-3) << mixed;
    for (size_t i = 0; i < inputs.size(); ++i) EXPECT_LT(distance(got[i], expected[i]), 1e-2) << mixed << " " << i;
  }
}

TEST_P(FrozenConv2d, ProjectsTheWeightOnTheWay) {
  const ConvGeometry& c = GetParam();
  for (const auto& [side, rank] : {std::array<int64_t, 2>{4, 2}, {18, 8}, {18, 16}}) {
    const at::Tensor x = narrow({1, 96, side, side}), weight = laid_out(narrow({160, 96, c.kernel[0], c.kernel[1]})).mul_(0.05);
    if (!has_unit_conv2d(x, weight, c)) GTEST_SKIP() << "not on the matrix unit";
    const at::Tensor A = at::randn({rank, 96 * c.taps()}), B = at::randn({160, rank}), gain = at::randn({160}), bias = narrow({160});
    const auto [y, projected] = unit_conv2d_and_projection(x, weight, A, c);
    EXPECT_TRUE(at::equal(y, unit_conv2d(x, weight, {}, c)));
    const at::Tensor wanted = at::mm(weight.contiguous().flatten(1).to(at::kDouble), A.to(at::kDouble).t());
    EXPECT_EQ(projected.scalar_type(), at::kFloat);
    EXPECT_LT(distance(projected, wanted), 3e-7) << side << " " << rank;
    const at::Tensor plain = lowrank_conv2d(x, weight, bias, c, A, B, 0.7, gain);
    EXPECT_TRUE(at::equal(lowrank_conv2d(x, weight, bias, c, A, B, 0.7, gain, {}, y), plain));
  }
}

INSTANTIATE_TEST_SUITE_P(Geometries, FrozenConv2d, testing::Values(kSame, kWide, kStrided, kPointwise));

TEST(FrozenConv2dLayout, KeepsTheValues) {
  const at::Tensor weight = narrow({6, 4, 3, 3});
  EXPECT_TRUE(at::equal(laid_out(weight), weight));
  EXPECT_TRUE(laid_out(weight).is_contiguous(at::MemoryFormat::ChannelsLast));
}

TEST(UnitRows, AreTheProductAndItsTranspose) {
  if (!has_matrix_unit()) GTEST_SKIP() << "no matrix unit";
  at::manual_seed(6);
  for (const int64_t rows : {16, 77}) {
    const at::Tensor x = narrow({rows, 96}), weight = narrow({160, 96}), dy = narrow({rows, 160}), bias = narrow({160});
    EXPECT_LT(distance(unit_rows(x, weight, bias), at::mm(x.to(at::kFloat), weight.to(at::kFloat).t()) + bias.to(at::kFloat)), 3e-3);
    EXPECT_LT(distance(unit_rows_input_gradient(dy, weight), at::mm(dy.to(at::kFloat), weight.to(at::kFloat))), 3e-3);
  }
}

}  // namespace
}  // namespace lowrank::kernels
