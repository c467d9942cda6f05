#include "lowrank/kernels/row_squares.h"

#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

namespace lowrank::kernels {
namespace {

TEST(RowSquares, AreThoseOfFloat64InEveryLayout) {
  at::manual_seed(5);
  for (const auto dtype : {at::kDouble, at::kFloat, at::kBFloat16, at::kHalf}) {
    const at::Tensor matrix = at::randn({40, 700}).to(dtype), kernels = at::randn({6, 8, 3, 3}).to(dtype);
    const auto exact = [](const at::Tensor& w) { return w.to(at::kDouble).flatten(1).square().sum(1); };
    for (const at::Tensor& w : {matrix, matrix.t(), matrix.slice(1, 0, 650), kernels, kernels.contiguous(at::MemoryFormat::ChannelsLast),
                                kernels.slice(1, 0, 5), kernels.slice(2, 0, 1)}) {
      const at::Tensor got = row_squares(w), wanted = exact(w);
      EXPECT_EQ(got.scalar_type(), at::kDouble);
      EXPECT_LT(((got - wanted) / wanted).abs().max().item<double>(), 1e-14) << dtype << ", " << w.sizes();
    }
  }
}

TEST(AdaptedRowSquares, EqualTheDenseMatrixs) {
  at::manual_seed(5);
  for (const auto dtype : {at::kDouble, at::kFloat, at::kHalf}) {  // float16 has no kernel of its own
    for (const int64_t rank : {1, 5, 16}) {
      const int64_t rows = rank == 5 ? 300 : 19, width = rank == 5 ? 4500 : 33;  // more than one thread's, too
      const at::Tensor W = at::randn({rows, width}, at::kDouble), A = at::randn({rank, width}).to(dtype),
                       B = at::randn({rows, rank}).to(dtype);
      const at::Tensor a = A.to(at::kDouble), projected = W.mm(a.t()).to(dtype), squares = W.square().sum(1);
      const at::Tensor got = adapted_row_squares(projected, A, B, 0.7, squares),
                       wanted = (W + 0.7 * B.to(at::kDouble).mm(a)).square().sum(1);
      EXPECT_EQ(got.scalar_type(), at::kDouble);
      // U is as exact as its dtype: observed 2e-16, 4e-8 and 5e-4
      const double most = dtype == at::kDouble ? 1e-14 : dtype == at::kFloat ? 1e-6 : 5e-3;
      EXPECT_LT(((got - wanted) / wanted).abs().max().item<double>(), most) << dtype << ", rank " << rank;
    }
  }
}

}  // namespace
}  // namespace lowrank::kernels
