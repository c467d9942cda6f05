#include "lowrank/kernels/channels.h"

#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>

#include "lowrank/kernels/bfloat16.h"
#include "lowrank/tensor/parallel.h"

namespace lowrank::kernels {

namespace {

template <VectorUnit, class Wide, class T>
LOWRANK_ALWAYS_INLINE Wide dot_of(const T* a, const T* b, int64_t count) {
#pragma clang fp reassociate(on) contract(fast)
  Wide sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += static_cast<Wide>(a[i]) * static_cast<Wide>(b[i]);
  return sum;
}

template <VectorUnit, class Wide, class T>
LOWRANK_ALWAYS_INLINE Wide sum_of(const T* a, int64_t count) {
#pragma clang fp reassociate(on) contract(fast)
  Wide sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += static_cast<Wide>(a[i]);
  return sum;
}

template <VectorUnit Unit, class T>
LOWRANK_ALWAYS_INLINE at::opmath_type<T> reduced(const T* a, const T* b, int64_t count) {
  using Wide = at::opmath_type<T>;
  return b == nullptr ? sum_of<Unit, Wide>(a, count) : dot_of<Unit, Wide>(a, b, count);
}
LOWRANK_VECTOR_VERSIONS(float, reduce, reduced, (const float* a, const float* b, int64_t count), (a, b, count))
LOWRANK_VECTOR_VERSIONS(double, reduce, reduced, (const double* a, const double* b, int64_t count), (a, b, count))
LOWRANK_VECTOR_VERSIONS(float, reduce, reduced, (const at::BFloat16* a, const at::BFloat16* b, int64_t count), (a, b, count))
LOWRANK_VECTOR_VERSIONS(float, reduce, reduced, (const at::Half* a, const at::Half* b, int64_t count), (a, b, count))

template <VectorUnit, class T, class Wide>
LOWRANK_ALWAYS_INLINE void scaled(T* to, const T* from, int64_t count, Wide gain, Wide bias) {
#pragma clang loop vectorize(assume_safety)  // in place each number is read before it is written
  for (int64_t i = 0; i < count; ++i) to[i] = rounded<T>(gain * static_cast<Wide>(from[i]) + bias);
}
LOWRANK_VECTOR_VERSIONS(void, scale, scaled, (float* to, const float* from, int64_t count, float gain, float bias),
                        (to, from, count, gain, bias))
LOWRANK_VECTOR_VERSIONS(void, scale, scaled, (double* to, const double* from, int64_t count, double gain, double bias),
                        (to, from, count, gain, bias))
LOWRANK_VECTOR_VERSIONS(void, scale, scaled, (at::BFloat16 * to, const at::BFloat16* from, int64_t count, float gain, float bias),
                        (to, from, count, gain, bias))
LOWRANK_VECTOR_VERSIONS(void, scale, scaled, (at::Half * to, const at::Half* from, int64_t count, float gain, float bias),
                        (to, from, count, gain, bias))

at::Tensor by_channels(const at::Tensor& a, const at::Tensor& b) {
  const int64_t pictures = a.size(0), channels = a.size(1), pixels = a.size(2) * a.size(3);
  const auto wide = a.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor sums = at::empty({channels}, a.options().dtype(wide));
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, a.scalar_type(), "channel_sums", [&] {
    using Wide = at::opmath_type<scalar_t>;
    const scalar_t *first = a.const_data_ptr<scalar_t>(), *second = b.defined() ? b.const_data_ptr<scalar_t>() : nullptr;
    Wide* out = sums.mutable_data_ptr<Wide>();
    tensor::parallel_for(0, channels, 16, [&](int64_t begin, int64_t end) {
      for (int64_t channel = begin; channel < end; ++channel) {
        Wide sum = 0;
        for (int64_t picture = 0; picture < pictures; ++picture) {
          const int64_t at = (picture * channels + channel) * pixels;
          sum += reduce(first + at, second == nullptr ? nullptr : second + at, pixels);
        }
        out[channel] = sum;
      }
    });
  });
  return sums;
}

}  // namespace

void scale_channels(const at::Tensor& to, const at::Tensor& from, const at::Tensor& gain, const at::Tensor& bias) {
  const int64_t channels = from.size(1), pixels = from.size(2) * from.size(3);
  const auto wide = from.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor gains = gain.to(wide).contiguous(), biases = bias.defined() ? bias.to(wide).contiguous() : at::zeros_like(gains);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, from.scalar_type(), "scale_channels", [&] {
    using Wide = at::opmath_type<scalar_t>;
    const scalar_t* source = from.const_data_ptr<scalar_t>();
    scalar_t* target = to.mutable_data_ptr<scalar_t>();
    const Wide *g = gains.const_data_ptr<Wide>(), *b = biases.const_data_ptr<Wide>();
    tensor::parallel_for(0, from.size(0) * channels, 16, [&](int64_t begin, int64_t end) {
      for (int64_t plane = begin; plane < end; ++plane) {
        scale(target + plane * pixels, source + plane * pixels, pixels, g[plane % channels], b[plane % channels]);
      }
    });
  });
}

at::Tensor channel_dots(const at::Tensor& a, const at::Tensor& b) { return by_channels(a, b); }

at::Tensor channel_sums(const at::Tensor& a) { return by_channels(a, {}); }

}  // namespace lowrank::kernels
