#include "lowrank/kernels/conv_taps.h"

#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <vector>

#include "lowrank/tensor/parallel.h"

namespace lowrank::kernels {

namespace {

/// Output positions [first, last) along one axis whose input `position·stride + shift` lies in [0, size).
struct Range {
  int64_t first, last;
};

Range inside(int64_t shift, int64_t stride, int64_t size, int64_t outputs) {
  const int64_t first = shift < 0 ? (-shift + stride - 1) / stride : 0;
  const int64_t last = size <= shift ? 0 : (size - 1 - shift) / stride + 1;
  return {first, std::max(first, std::min(last, outputs))};
}

/// visit(tap, output offset, input offset, columns) for each run of columns that a tap reads, `stride[1]` apart in the input.
template <class Visit>
void for_each_run(const ConvGeometry& c, std::array<int64_t, 2> in, std::array<int64_t, 2> out, Visit&& visit) {
  for (int64_t tap = 0; tap < c.taps(); ++tap) {
    const int64_t down = tap / c.kernel[1] * c.dilation[0] - c.padding[0], right = tap % c.kernel[1] * c.dilation[1] - c.padding[1];
    const Range rows = inside(down, c.stride[0], in[0], out[0]), columns = inside(right, c.stride[1], in[1], out[1]);
    if (columns.first == columns.last) continue;
    for (int64_t y = rows.first; y < rows.last; ++y) {
      visit(tap, y * out[1] + columns.first, (y * c.stride[0] + down) * in[1] + columns.first * c.stride[1] + right,
            columns.last - columns.first);
    }
  }
}

std::array<int64_t, 2> sizes_of(const at::Tensor& pictures) { return {pictures.size(2), pictures.size(3)}; }

template <class T>
void gather(const at::Tensor& p, const at::Tensor& h, const ConvGeometry& c) {
  using Wide = at::opmath_type<T>;
  const int64_t rank = h.size(1), step = c.stride[1];
  const auto in = sizes_of(p), out = sizes_of(h);
  const int64_t in_plane = in[0] * in[1], out_plane = out[0] * out[1];
  const T* from = p.const_data_ptr<T>();
  T* to = h.mutable_data_ptr<T>();
  tensor::parallel_for(0, h.size(0) * rank, 1, [&](int64_t begin, int64_t end) {
    std::vector<Wide> sum(static_cast<size_t>(out_plane));
    for (int64_t plane = begin; plane < end; ++plane) {
      const T* planes = from + (plane / rank * c.taps() * rank + plane % rank) * in_plane;
      std::fill(sum.begin(), sum.end(), Wide(0));
      for_each_run(c, in, out, [&](int64_t tap, int64_t at_out, int64_t at_in, int64_t count) {
        const T* source = planes + tap * rank * in_plane + at_in;
        Wide* target = sum.data() + at_out;
        if (step == 1) {
          for (int64_t x = 0; x < count; ++x) target[x] += static_cast<Wide>(source[x]);
        } else {
          for (int64_t x = 0; x < count; ++x) target[x] += static_cast<Wide>(source[x * step]);
        }
      });
      std::copy(sum.begin(), sum.end(), to + plane * out_plane);
    }
  });
}

template <class T>
void scatter(const at::Tensor& g, const at::Tensor& p, const ConvGeometry& c) {
  const int64_t rank = g.size(1), step = c.stride[1];
  const auto in = sizes_of(p), out = sizes_of(g);
  const int64_t in_plane = in[0] * in[1], out_plane = out[0] * out[1];
  const T* from = g.const_data_ptr<T>();
  T* to = p.mutable_data_ptr<T>();
  tensor::parallel_for(0, g.size(0) * rank, 1, [&](int64_t begin, int64_t end) {
    for (int64_t plane = begin; plane < end; ++plane) {
      T* planes = to + (plane / rank * c.taps() * rank + plane % rank) * in_plane;
      for_each_run(c, in, out, [&](int64_t tap, int64_t at_out, int64_t at_in, int64_t count) {
        const T* source = from + plane * out_plane + at_out;
        T* target = planes + tap * rank * in_plane + at_in;
        for (int64_t x = 0; x < count; ++x) target[x * step] = source[x];
      });
    }
  });
}

}  // namespace

std::array<int64_t, 2> ConvGeometry::output(at::IntArrayRef input) const {
  const auto along = [&](size_t axis) {
    return (input[axis] + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1) / stride[axis] + 1;
  };
  return {along(0), along(1)};
}

bool ConvGeometry::is_pointwise() const { return taps() == 1 && stride[0] * stride[1] == 1 && padding[0] == 0 && padding[1] == 0; }

at::Tensor by_taps(const at::Tensor& m, int64_t taps) {
  return taps == 1 ? m : m.reshape({m.size(0), -1, taps}).permute({2, 0, 1}).reshape({taps * m.size(0), -1});
}

at::Tensor from_taps(const at::Tensor& m, int64_t taps) {
  return taps == 1 ? m : m.view({taps, -1, m.size(1)}).permute({1, 2, 0}).reshape({m.size(0) / taps, -1});
}

at::Tensor gather_taps(const at::Tensor& p, const ConvGeometry& geometry) {
  if (geometry.is_pointwise()) return p;
  const auto [height, width] = geometry.output(p.sizes().slice(2));
  const at::Tensor h = at::empty({p.size(0), p.size(1) / geometry.taps(), height, width}, p.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, p.scalar_type(), "gather_taps", [&] { gather<scalar_t>(p, h, geometry); });
  return h;
}

at::Tensor scatter_taps(const at::Tensor& g, const ConvGeometry& geometry, std::array<int64_t, 2> input) {
  if (geometry.is_pointwise()) return g;
  const at::Tensor p = at::zeros({g.size(0), geometry.taps() * g.size(1), input[0], input[1]}, g.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, g.scalar_type(), "scatter_taps", [&] { scatter<scalar_t>(g, p, geometry); });
  return p;
}

}  // namespace lowrank::kernels
