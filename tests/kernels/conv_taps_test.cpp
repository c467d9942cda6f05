#include "lowrank/kernels/conv_taps.h"

#include <ATen/ops/conv2d.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

namespace lowrank::kernels {
namespace {

struct Case {
  ConvGeometry geometry;
  at::ScalarType dtype = at::kDouble;
};

class ConvTaps : public testing::TestWithParam<Case> {
 protected:
  ConvTaps() { at::manual_seed(4); }

  static constexpr int64_t kPictures = 2, kChannels = 5, kRank = 3, kHeight = 7, kWidth = 6;
  ConvGeometry geometry_ = GetParam().geometry;
  at::Tensor m_ = at::randn({kRank, kChannels* geometry_.taps()}, GetParam().dtype);
  at::Tensor x_ = at::randn({kPictures, kChannels, kHeight, kWidth}, GetParam().dtype);
};

TEST_P(ConvTaps, ProductsAndTheirSumAreTheConvolution) {
  const ConvGeometry& c = geometry_;
  const at::Tensor products = at::matmul(by_taps(m_, c.taps()), x_.flatten(2)).view({kPictures, -1, kHeight, kWidth});
  const at::Tensor h = gather_taps(products, c);
  const at::Tensor kernels = m_.view({kRank, kChannels, c.kernel[0], c.kernel[1]}).to(at::kDouble);
  const at::Tensor expected = at::conv2d(x_.to(at::kDouble), kernels, {}, c.stride, c.padding, c.dilation);
  ASSERT_EQ(h.sizes(), expected.sizes());
  const double bound = GetParam().dtype == at::kDouble ? 1e-12 : 0.2;  // bfloat16 products of size 10, observed 0.06
  EXPECT_LT((h - expected).abs().max().item<double>(), bound);
}

TEST_P(ConvTaps, ScatterIsTheTranspose) {
  const at::Tensor p = at::randn({kPictures, kRank * geometry_.taps(), kHeight, kWidth}, GetParam().dtype);
  const at::Tensor h = gather_taps(p, geometry_), g = at::randn(h.sizes(), GetParam().dtype);
  const at::Tensor q = scatter_taps(g, geometry_, {kHeight, kWidth});
  ASSERT_EQ(q.sizes(), p.sizes());
  const auto dot = [](const at::Tensor& a, const at::Tensor& b) { return (a.to(at::kDouble) * b.to(at::kDouble)).sum().item<double>(); };
  EXPECT_NEAR(dot(h, g), dot(p, q), GetParam().dtype == at::kDouble ? 1e-11 : 0.5);  // sums of 300 numbers, observed 0.1
}

TEST_P(ConvTaps, RowsAreTheSameByBlocks) {
  const ConvGeometry& c = geometry_;
  const int64_t blocks = 2, columns = 8;  // pictures' two blocks of channels side by side, one row each
  const at::Tensor p = at::randn({kPictures, blocks, c.taps() * kRank, kHeight, kWidth});
  const auto as_rows = [](const at::Tensor& t) { return t.permute({0, 3, 4, 1, 2}).flatten(0, 3).contiguous(); };
  const at::Tensor h = gather_taps(p.flatten(0, 1).contiguous(), c).unflatten(0, {kPictures, blocks});
  const at::Tensor rows = gather_tap_rows(as_rows(p), c, {kHeight, kWidth}, blocks, kRank, columns);
  EXPECT_LT((rows.slice(1, 0, kRank) - as_rows(h)).abs().max().item<double>(), 1e-5);
  EXPECT_EQ(rows.slice(1, kRank, columns).abs().max().item<double>(), 0);
  const at::Tensor g = at::randn(h.sizes());
  const at::Tensor scattered = scatter_taps(g.flatten(0, 1).contiguous(), c, {kHeight, kWidth}).unflatten(0, {kPictures, blocks});
  EXPECT_TRUE(at::equal(scatter_tap_rows(as_rows(g), c, {kHeight, kWidth}, blocks), as_rows(scattered)));
}

TEST_P(ConvTaps, OrderByTapsAndBack) { EXPECT_TRUE(at::equal(from_taps(by_taps(m_, geometry_.taps()), geometry_.taps()), m_)); }

INSTANTIATE_TEST_SUITE_P(Geometries, ConvTaps,
                         testing::Values(Case{{{3, 3}, {1, 1}, {1, 1}, {1, 1}}}, Case{{{3, 3}, {2, 2}, {1, 1}, {1, 1}}},
                                         Case{{{3, 2}, {1, 2}, {2, 0}, {2, 1}}}, Case{{{1, 1}, {1, 1}, {0, 0}, {1, 1}}},
                                         Case{{{1, 1}, {2, 3}, {1, 0}, {1, 1}}}, Case{{{5, 5}, {1, 1}, {6, 6}, {2, 2}}},
                                         Case{{{3, 3}, {2, 1}, {1, 1}, {1, 1}}, at::kBFloat16}));

}  // namespace
}  // namespace lowrank::kernels
