#include "lowrank/kernels/narrow_product.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "lowrank/kernels/rank_projection.h"

namespace lowrank::kernels {
namespace {

/// Every tail of rows, one to three vectors of columns, both orders of storage.
template <class T>
void expect_library_products(at::ScalarType dtype, double limit) {
  at::manual_seed(1);
  for (int64_t rows = 1; rows <= 15; ++rows) {
    for (int64_t vectors = 1; vectors <= 3; ++vectors) {
      const int64_t columns = vectors * kNarrowLanes<T>, depth = 7 + rows;
      const at::Tensor p = at::randn({rows, depth}, dtype), p_t = p.t().contiguous(), q = at::randn({depth, columns}, dtype),
                       start = at::randn({rows, columns}, dtype), wanted = p.mm(q);
      at::Tensor c = at::empty({rows, columns}, dtype), added = start.clone();
      const Rows<const T> right{q.const_data_ptr<T>(), columns}, row{start.const_data_ptr<T>(), 0};
      const Rows<T> sum{added.mutable_data_ptr<T>(), columns};
      narrow_product(rows, columns, depth, Strided<T>{p.const_data_ptr<T>(), depth, 1}, right, Rows<T>{c.mutable_data_ptr<T>(), columns},
                     row);
      narrow_product(rows, columns, depth, Strided<T>{p_t.const_data_ptr<T>(), 1, rows}, right, sum, Rows<const T>{sum.data, columns});
      EXPECT_LT((c - start[0] - wanted).abs().max().item<double>(), limit) << rows << "×" << columns;
      EXPECT_LT((added - start - wanted).abs().max().item<double>(), limit) << rows << "×" << columns;
    }
  }
}

TEST(NarrowProduct, IsTheLibrarysInFloat32) { expect_library_products<float>(at::kFloat, 1e-5); }
TEST(NarrowProduct, IsTheLibrarysInFloat64) { expect_library_products<double>(at::kDouble, 1e-13); }

TEST(RankProjection, IsTheLibrarysProductInEveryDtype) {
  at::manual_seed(2);
  for (const int64_t rank : {1, 8, 13}) {
    const at::Tensor x = at::randn({101, 20}, at::kDouble), A = at::randn({rank, 20}, at::kDouble), wanted = x.mm(A.t());
    for (const auto& [dtype, limit] : {std::pair(at::kDouble, 1e-13), {at::kFloat, 1e-5}, {at::kBFloat16, 1e-1}}) {
      EXPECT_LT((rank_projection(x.to(dtype), A.to(dtype)) - wanted).abs().max().item<double>(), limit);
    }
  }
}

}  // namespace
}  // namespace lowrank::kernels
