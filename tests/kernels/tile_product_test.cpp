#include "lowrank/kernels/tile_product.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <limits>
#include <vector>

#include "lowrank/kernels/column_sums.h"
#include "lowrank/kernels/lowrank_apply_cpu.h"
#include "lowrank/kernels/rank_mix.h"
#include "lowrank/kernels/rank_projection.h"
#include "lowrank/kernels/rounding.h"

namespace lowrank::kernels {
namespace {

at::Tensor narrow(at::IntArrayRef shape) { return at::randn(shape).to(at::kBFloat16); }

double distance(const at::Tensor& got, const at::Tensor& wanted) {
  const at::Tensor a = got.to(at::kDouble), b = wanted.to(at::kDouble);
  return (a - b).norm().item<double>() / b.norm().item<double>();
}

class Tiles : public testing::Test {
 protected:
  void SetUp() override {
    at::manual_seed(3);
    if (!has_tiles()) GTEST_SKIP() << "no matrix unit";
  }
};

TEST_F(Tiles, ProductsOfAnyWidthAddUpInFloat32) {
  for (const auto& [rows, columns, depth] : std::vector<std::array<int64_t, 3>>{{1, 1, 2}, {7, 16, 14}, {130, 40, 384}, {16, 200, 6}}) {
    const at::Tensor p = narrow({rows, depth}), q = narrow({depth, columns}), start = at::randn({rows, columns});
    at::Tensor c = start.clone();
    {
      const TileScope scope;
      tile_product(rows, columns, depth, p.const_data_ptr<at::BFloat16>(), depth, packed_tiles(q).const_data_ptr<at::BFloat16>(),
                   c.mutable_data_ptr<float>(), columns, /*add=*/true);
    }
    EXPECT_LT(distance(c, start + at::mm(p.to(at::kFloat), q.to(at::kFloat))), 1e-6) << rows << " " << columns << " " << depth;
  }
}

TEST_F(Tiles, ANarrowWeightIsProjectedToFloat32sLastDigit) {
  const at::Tensor weight = narrow({96, 130}), A = at::randn({5, 130});
  EXPECT_LT(distance(wide_projection(weight, A), at::mm(weight.to(at::kDouble), A.to(at::kDouble).t())), 3e-7);
  const at::Tensor kernels = narrow({67, 130, 3, 3}), down = at::randn({13, 130 * 9});  // several pieces of depth, three panels
  const at::Tensor wanted = at::mm(kernels.flatten(1).to(at::kDouble), down.to(at::kDouble).t());
  EXPECT_LT(distance(wide_projection(kernels.permute({0, 2, 3, 1}).flatten(1), down, 9), wanted), 3e-7);
  const at::Tensor wide = kernels.to(at::kDouble), plain = wide_projection(wide.permute({0, 2, 3, 1}).flatten(1), down.to(at::kDouble), 9);
  EXPECT_LT(distance(plain, wanted), 1e-12);
}

TEST_F(Tiles, AnUpdateIsAppliedWithOneRounding) {
  const int64_t rows = 133, l = 4, k = 10, m = 3, n = 14;
  const at::Tensor mixed_y = narrow({rows, l * k}), mixed_x = narrow({rows, m * n});
  const LowRankUpdate mixed{at::randn({6, n}), at::randn({k, 6}), {}, at::randn({l, m}), 0.3};
  const at::Tensor y = narrow({rows, k}), x = narrow({rows, n}), bias = narrow({k});
  const LowRankUpdate gained{at::randn({6, n}), at::randn({k, 6}), at::randn({k}), {}, 0.3};
  const auto expected = [](const at::Tensor& start, const at::Tensor& in, const LowRankUpdate& u) {
    const LowRankUpdate wide{u.A.to(at::kDouble), u.B.to(at::kDouble), {}, u.mix.defined() ? u.mix.to(at::kDouble) : u.mix, u.scale};
    const at::Tensor zero = at::zeros({start.size(1), in.size(1)}, at::kDouble);
    return start.to(at::kDouble) + at::mm(in.to(at::kDouble), wide.apply(zero).t());
  };
  const at::Tensor wanted = expected(mixed_y, mixed_x, mixed), wanted_gain = expected(y, x, gained) * gained.gain + bias;
  cpu_apply_update_(mixed_y, mixed_x, mixed, {});
  cpu_apply_update_(y, x, gained, bias);
  EXPECT_LT(distance(mixed_y, wanted), 5e-3);  // observed 2.2e-3: x·Aᵀ, A and B are rounded too
  EXPECT_LT(distance(y, wanted_gain), 5e-3);

  const at::Tensor dx = narrow({rows, m * n}), g = narrow({rows * m, 6});
  const at::Tensor wanted_dx = dx.to(at::kDouble) + at::mm(g.to(at::kDouble), mixed.A.to(at::kDouble)).view({rows, m * n});
  cpu_add_input_gradient_(dx, g, mixed);
  EXPECT_LT(distance(dx, wanted_dx), 5e-3);
}

TEST(Rounding, TurnsWhatItRounds) {
  const at::Tensor numbers = at::randn({19, 21});
  at::Tensor plain = at::zeros({19, 21}, at::kBFloat16), turned = at::zeros({21, 24}, at::kBFloat16);
  numbers[16][3] = std::numeric_limits<float>::infinity();
  round_numbers(numbers.numel(), numbers.const_data_ptr<float>(), plain.mutable_data_ptr<at::BFloat16>());
  turn_rounded(19, 21, numbers.const_data_ptr<float>(), turned.mutable_data_ptr<at::BFloat16>(), 24);
  EXPECT_TRUE(at::equal(plain, numbers.to(at::kBFloat16)));
  EXPECT_TRUE(at::equal(turned.slice(1, 0, 19), numbers.to(at::kBFloat16).t()));
}

TEST(ColumnSums, AreTheLibrarysInEveryDtype) {
  at::manual_seed(4);
  const auto check = [](auto number, auto sum, double limit) {
    using S = decltype(number);
    using T = decltype(sum);
    const auto dtype = c10::CppTypeToScalarType<S>::value, wide = c10::CppTypeToScalarType<T>::value;
    const at::Tensor a = at::randn({37, 150}).to(dtype), b = at::randn({37, 150}).to(dtype);
    at::Tensor dots = at::zeros({150}, wide), sums = at::zeros({150}, wide), alone = at::zeros({150}, wide);
    add_column_sums(37, 150, a.const_data_ptr<S>(), b.const_data_ptr<S>(), dots.mutable_data_ptr<T>(), sums.mutable_data_ptr<T>());
    add_column_sums(37, 150, a.const_data_ptr<S>(), static_cast<const S*>(nullptr), static_cast<T*>(nullptr), alone.mutable_data_ptr<T>());
    EXPECT_LT(distance(dots, (a.to(at::kDouble) * b.to(at::kDouble)).sum(0)), limit);
    EXPECT_LT(distance(sums, a.to(at::kDouble).sum(0)), limit);
    EXPECT_TRUE(at::equal(sums, alone));
  };
  check(at::BFloat16(), float(), 1e-6);
  check(float(), float(), 1e-6);
  check(double(), double(), 1e-14);
}

TEST(RankMix, IsAProductForEachRow) {
  at::manual_seed(5);
  for (const int64_t columns : {8, 16, 24}) {
    const at::Tensor mix = at::randn({4, 3}), h = at::randn({11, 3, columns}), g = at::randn({11, 4, columns});
    at::Tensor mixed = at::zeros({11, 4, columns}), back = at::zeros({11, 3, columns}), lanes = at::zeros({4, 3, 8});
    mix_rows(11, 4, 3, columns, mix.const_data_ptr<float>(), 3, 1, h.const_data_ptr<float>(), mixed.mutable_data_ptr<float>());
    mix_rows(11, 3, 4, columns, mix.const_data_ptr<float>(), 1, 3, g.const_data_ptr<float>(), back.mutable_data_ptr<float>());
    add_mix_gradient(11, 4, 3, columns, g.const_data_ptr<float>(), h.const_data_ptr<float>(), lanes.mutable_data_ptr<float>());
    EXPECT_LT(distance(mixed, at::matmul(mix, h)), 1e-6);
    EXPECT_LT(distance(back, at::matmul(mix.t(), g)), 1e-6);
    EXPECT_LT(distance(lanes.sum(-1), at::matmul(g, h.transpose(1, 2)).sum(0)), 1e-6);
  }
}

}  // namespace
}  // namespace lowrank::kernels
