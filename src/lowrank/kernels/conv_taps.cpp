#include "lowrank/kernels/conv_taps.h"

#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <vector>

#include "lowrank/kernels/bfloat16.h"
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

/// `count` output positions from `out` on that a tap reads from `in` on, `step` apart there.
struct Run {
  int64_t tap, out, in, count;
};

/// Input columns [first, first + count) of one tap's plane that no output reads.
struct Unread {
  int64_t tap, first, count;
};

/// Which inputs each tap adds to which outputs. Where the rows of both are equally long and steps are 1, a tap's rows are one run; at
/// its row ends it then passes over columns that are unread, and must hold zeros.
struct Plan {
  std::vector<Run> runs;
  std::vector<Unread> unread;
  int64_t step, in_rows, in_columns, in_plane, out_plane;
};

Plan plan_of(const ConvGeometry& c, std::array<int64_t, 2> in, std::array<int64_t, 2> out) {
  Plan plan{.step = c.stride[1], .in_rows = in[0], .in_columns = in[1], .in_plane = in[0] * in[1], .out_plane = out[0] * out[1]};
  const bool joined = c.stride == std::array<int64_t, 2>{1, 1} && in[1] == out[1];
  for (int64_t tap = 0; tap < c.taps(); ++tap) {
    const int64_t down = tap / c.kernel[1] * c.dilation[0] - c.padding[0], right = tap % c.kernel[1] * c.dilation[1] - c.padding[1];
    const Range rows = inside(down, c.stride[0], in[0], out[0]), columns = inside(right, c.stride[1], in[1], out[1]);
    if (columns.first == columns.last || rows.first == rows.last) continue;
    if (joined) {
      const int64_t shift = down * in[1] + right, first = std::max(rows.first * out[1], -shift);
      plan.runs.push_back({tap, first, first + shift, std::min(rows.last * out[1], plan.in_plane - shift) - first});
      if (right > 0) plan.unread.push_back({tap, 0, right});
      if (right < 0) plan.unread.push_back({tap, in[1] + right, -right});
      continue;
    }
    for (int64_t y = rows.first; y < rows.last; ++y) {
      plan.runs.push_back({tap, y * out[1] + columns.first, (y * c.stride[0] + down) * in[1] + columns.first * c.stride[1] + right,
                           columns.last - columns.first});
    }
  }
  return plan;
}

template <class T>
void clear_unread(const Plan& plan, T* planes, int64_t tap_stride) {
  for (const auto& [tap, first, count] : plan.unread) {
    T* at = planes + tap * tap_stride + first;
    for (int64_t row = 0; row < plan.in_rows; ++row, at += plan.in_columns) std::fill_n(at, count, T(0));
  }
}

template <VectorUnit, class T, class Wide>
LOWRANK_ALWAYS_INLINE void add(const T* from, Wide* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] += static_cast<Wide>(from[i]);
}
LOWRANK_VECTOR_VERSIONS(void, add_run, add, (const float* from, float* to, int64_t count), (from, to, count))
LOWRANK_VECTOR_VERSIONS(void, add_run, add, (const double* from, double* to, int64_t count), (from, to, count))
LOWRANK_VECTOR_VERSIONS(void, add_run, add, (const at::BFloat16* from, float* to, int64_t count), (from, to, count))
LOWRANK_VECTOR_VERSIONS(void, add_run, add, (const at::Half* from, float* to, int64_t count), (from, to, count))

template <VectorUnit, class T, class Wide>
LOWRANK_ALWAYS_INLINE void round_to(T* to, const Wide* from, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = rounded<T>(from[i]);
}
LOWRANK_VECTOR_VERSIONS(void, round_run, round_to, (float* to, const float* from, int64_t count), (to, from, count))
LOWRANK_VECTOR_VERSIONS(void, round_run, round_to, (double* to, const double* from, int64_t count), (to, from, count))
LOWRANK_VECTOR_VERSIONS(void, round_run, round_to, (at::BFloat16 * to, const float* from, int64_t count), (to, from, count))
LOWRANK_VECTOR_VERSIONS(void, round_run, round_to, (at::Half * to, const float* from, int64_t count), (to, from, count))

template <class T>
void gather(const at::Tensor& p, const at::Tensor& h, const Plan& plan) {
  using Wide = at::opmath_type<T>;
  const int64_t rank = h.size(1), taps = p.size(1) / rank, tap_stride = rank * plan.in_plane;
  T *from = p.mutable_data_ptr<T>(), *to = h.mutable_data_ptr<T>();
  tensor::parallel_for(0, h.size(0) * rank, 1, [&](int64_t begin, int64_t end) {
    std::vector<Wide> sum(static_cast<size_t>(plan.out_plane));
    for (int64_t plane = begin; plane < end; ++plane) {
      T* planes = from + (plane / rank * taps * rank + plane % rank) * plan.in_plane;
      clear_unread(plan, planes, tap_stride);
      std::fill(sum.begin(), sum.end(), Wide(0));
      for (const auto& [tap, out, in, count] : plan.runs) {
        const T* source = planes + tap * tap_stride + in;
        if (plan.step == 1) {
          add_run(source, sum.data() + out, count);
        } else {
          for (int64_t x = 0; x < count; ++x) sum[static_cast<size_t>(out + x)] += static_cast<Wide>(source[x * plan.step]);
        }
      }
      round_run(to + plane * plan.out_plane, sum.data(), plan.out_plane);
    }
  });
}

template <class T>
void scatter(const at::Tensor& g, const at::Tensor& p, const Plan& plan) {
  const int64_t rank = g.size(1), taps = p.size(1) / rank, tap_stride = rank * plan.in_plane;
  const T* from = g.const_data_ptr<T>();
  T* to = p.mutable_data_ptr<T>();
  tensor::parallel_for(0, g.size(0) * rank, 1, [&](int64_t begin, int64_t end) {
    for (int64_t plane = begin; plane < end; ++plane) {
      T* planes = to + (plane / rank * taps * rank + plane % rank) * plan.in_plane;
      for (int64_t tap = 0; tap < taps; ++tap) std::fill_n(planes + tap * tap_stride, plan.in_plane, T(0));
      for (const auto& [tap, out, in, count] : plan.runs) {
        const T* source = from + plane * plan.out_plane + out;
        T* target = planes + tap * tap_stride + in;
        if (plan.step == 1) {
          std::copy_n(source, count, target);
        } else {
          for (int64_t x = 0; x < count; ++x) target[x * plan.step] = source[x];
        }
      }
      clear_unread(plan, planes, tap_stride);
    }
  });
}

std::array<int64_t, 2> sizes_of(const at::Tensor& pictures) { return {pictures.size(2), pictures.size(3)}; }

}  // namespace

std::array<int64_t, 2> ConvGeometry::output(at::IntArrayRef input) const {
  const auto along = [&](size_t axis) {
    return (input[axis] + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1) / stride[axis] + 1;
  };
  return {along(0), along(1)};
}

bool ConvGeometry::is_pointwise() const { return taps() == 1 && stride[0] * stride[1] == 1 && padding[0] == 0 && padding[1] == 0; }

std::vector<int64_t> numbers_of(const ConvGeometry& g) {
  return {g.kernel[0], g.kernel[1], g.stride[0], g.stride[1], g.padding[0], g.padding[1], g.dilation[0], g.dilation[1]};
}

ConvGeometry geometry_of(const std::vector<int64_t>& n) { return {{n[0], n[1]}, {n[2], n[3]}, {n[4], n[5]}, {n[6], n[7]}}; }

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
  const Plan plan = plan_of(geometry, sizes_of(p), {height, width});
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, p.scalar_type(), "gather_taps", [&] { gather<scalar_t>(p, h, plan); });
  return h;
}

namespace {

/// body(row of the output, row of the input, tap) for pixels of picture `picture` and line `y` of the output.
template <class Body>
void for_each_tap(const ConvGeometry& c, std::array<int64_t, 2> in, std::array<int64_t, 2> out, int64_t picture, int64_t y, Body&& body) {
  for (int64_t tap = 0; tap < c.taps(); ++tap) {
    const int64_t row = y * c.stride[0] - c.padding[0] + tap / c.kernel[1] * c.dilation[0],
                  shift = tap % c.kernel[1] * c.dilation[1] - c.padding[1];
    if (row < 0 || row >= in[0]) continue;
    const Range columns = inside(shift, c.stride[1], in[1], out[1]);
    for (int64_t x = columns.first; x < columns.last; ++x) {
      body((picture * out[0] + y) * out[1] + x, (picture * in[0] + row) * in[1] + x * c.stride[1] + shift, tap);
    }
  }
}

}  // namespace

at::Tensor gather_tap_rows(const at::Tensor& p, const ConvGeometry& geometry, std::array<int64_t, 2> input, int64_t blocks, int64_t rank,
                           int64_t columns) {
  const std::array<int64_t, 2> out = geometry.output(input);
  const int64_t pictures = p.size(0) / (input[0] * input[1] * blocks), width = p.size(1);
  const at::Tensor h = at::zeros({pictures * out[0] * out[1] * blocks, columns}, p.options());
  const float* from = p.const_data_ptr<float>();
  float* to = h.mutable_data_ptr<float>();
  tensor::parallel_for(0, pictures * out[0], 4, [&](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; ++line) {
      for_each_tap(geometry, input, out, line / out[0], line % out[0], [&](int64_t o, int64_t i, int64_t tap) {
        for (int64_t j = 0; j < blocks; ++j) add_run(from + (i * blocks + j) * width + tap * rank, to + (o * blocks + j) * columns, rank);
      });
    }
  });
  return h;
}

at::Tensor scatter_tap_rows(const at::Tensor& g, const ConvGeometry& geometry, std::array<int64_t, 2> input, int64_t blocks) {
  const std::array<int64_t, 2> out = geometry.output(input);
  const int64_t pictures = g.size(0) / (out[0] * out[1] * blocks), rank = g.size(1), width = geometry.taps() * rank;
  const at::Tensor p = at::zeros({pictures * input[0] * input[1] * blocks, width}, g.options());
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, g.scalar_type(), "scatter_tap_rows", [&] {
    const scalar_t* from = g.const_data_ptr<scalar_t>();
    scalar_t* to = p.mutable_data_ptr<scalar_t>();
    // Different outputs fill different places: a place is one input and one tap.
    tensor::parallel_for(0, pictures * out[0], 4, [&](int64_t begin, int64_t end) {
      for (int64_t line = begin; line < end; ++line) {
        for_each_tap(geometry, input, out, line / out[0], line % out[0], [&](int64_t o, int64_t i, int64_t tap) {
          for (int64_t j = 0; j < blocks; ++j)
            std::copy_n(from + (o * blocks + j) * rank, rank, to + (i * blocks + j) * width + tap * rank);
        });
      }
    });
  });
  return p;
}

at::Tensor scatter_taps(const at::Tensor& g, const ConvGeometry& geometry, std::array<int64_t, 2> input) {
  if (geometry.is_pointwise()) return g;
  const at::Tensor p = at::empty({g.size(0), geometry.taps() * g.size(1), input[0], input[1]}, g.options());
  const Plan plan = plan_of(geometry, input, sizes_of(g));
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, g.scalar_type(), "scatter_taps", [&] { scatter<scalar_t>(g, p, plan); });
  return p;
}

}  // namespace lowrank::kernels
