#include "lowrank/kernels/group_norm.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/silu.h>
#include <algorithm>
#include <cmath>
#include <torch/csrc/autograd/custom_function.h>
#include <vector>

#include "lowrank/kernels/bfloat16.h"
#include "lowrank/kernels/exponential.h"
#include "lowrank/tensor/parallel.h"

namespace lowrank::kernels {

namespace {

constexpr auto kLast = at::MemoryFormat::ChannelsLast;
constexpr int64_t kGroups = 8;  // of one piece of work

/// `pixels` rows of `channels` numbers, `stride` apart.
struct Rows {
  int64_t pixels, channels, stride;
};

/// sums += Σ (x − center) or, squared, its square, by channels.
template <VectorUnit, class T>
LOWRANK_ALWAYS_INLINE void sum_channels(const Rows& r, const T* x, const float* center, bool squared, float* sums) {
  for (int64_t i = 0; i < r.pixels; ++i, x += r.stride) {
    if (squared) {
      for (int64_t c = 0; c < r.channels; ++c) {
        const float d = widened(x[c]) - center[c];
        sums[c] += d * d;
      }
    } else {
      for (int64_t c = 0; c < r.channels; ++c) sums[c] += widened(x[c]);
    }
  }
}
#define LOWRANK_SUMS(T)                                                                                                                  \
  LOWRANK_VECTOR_VERSIONS(void, channel_sums, sum_channels, (const Rows& r, const T* x, const float* center, bool squared, float* sums), \
                          (r, x, center, squared, sums))
LOWRANK_SUMS(float)
LOWRANK_SUMS(at::BFloat16)
#undef LOWRANK_SUMS

/// y = f(a ⊙ x + b).
template <VectorUnit, class T>
LOWRANK_ALWAYS_INLINE void apply(const Rows& r, const T* x, const float* a, const float* b, bool silu, T* y) {
  for (int64_t i = 0; i < r.pixels; ++i, x += r.stride, y += r.stride) {
    if (silu) {
      for (int64_t c = 0; c < r.channels; ++c) {
        const float z = widened(x[c]) * a[c] + b[c];
        y[c] = rounded<T>(z / (1.0F + exponential(-z)));
      }
    } else {
      for (int64_t c = 0; c < r.channels; ++c) y[c] = rounded<T>(widened(x[c]) * a[c] + b[c]);
    }
  }
}
#define LOWRANK_APPLY(T)                                                                                                      \
  LOWRANK_VECTOR_VERSIONS(void, applied, apply, (const Rows& r, const T* x, const float* a, const float* b, bool silu, T* y), \
                          (r, x, a, b, silu, y))
LOWRANK_APPLY(float)
LOWRANK_APPLY(at::BFloat16)
#undef LOWRANK_APPLY

/// dy times f' at z.
LOWRANK_ALWAYS_INLINE float through(float dy, float z, bool silu) {
  if (!silu) return dy;
  const float s = 1.0F / (1.0F + exponential(-z));
  return dy * s * (1.0F + z * (1.0F - s));
}

/// With d = dy·f'(a ⊙ x + b): sums += Σ d and dots += Σ d·x, by channels.
template <VectorUnit, class T>
LOWRANK_ALWAYS_INLINE void sum_gradients(const Rows& r, const T* x, const T* dy, const float* a, const float* b, bool silu, float* sums,
                                         float* dots) {
  for (int64_t i = 0; i < r.pixels; ++i, x += r.stride, dy += r.stride) {
    for (int64_t c = 0; c < r.channels; ++c) {
      const float value = widened(x[c]), d = through(widened(dy[c]), value * a[c] + b[c], silu);
      sums[c] += d;
      dots[c] += d * value;
    }
  }
}
#define LOWRANK_GRADIENT_SUMS(T)                                                                                                         \
  LOWRANK_VECTOR_VERSIONS(void, gradient_sums, sum_gradients,                                                                            \
                          (const Rows& r, const T* x, const T* dy, const float* a, const float* b, bool silu, float* sums, float* dots), \
                          (r, x, dy, a, b, silu, sums, dots))
LOWRANK_GRADIENT_SUMS(float)
LOWRANK_GRADIENT_SUMS(at::BFloat16)
#undef LOWRANK_GRADIENT_SUMS

/// dx = a ⊙ d − e ⊙ x − f, d as above.
template <VectorUnit, class T>
LOWRANK_ALWAYS_INLINE void combine(const Rows& r, const T* x, const T* dy, const float* a, const float* b, bool silu, const float* e,
                                   const float* f, T* dx) {
  for (int64_t i = 0; i < r.pixels; ++i, x += r.stride, dy += r.stride, dx += r.stride) {
    for (int64_t c = 0; c < r.channels; ++c) {
      const float value = widened(x[c]), d = through(widened(dy[c]), value * a[c] + b[c], silu);
      dx[c] = rounded<T>(a[c] * d - e[c] * value - f[c]);
    }
  }
}
#define LOWRANK_COMBINE(T)                                                                                                        \
  LOWRANK_VECTOR_VERSIONS(                                                                                                        \
      void, combined, combine,                                                                                                    \
      (const Rows& r, const T* x, const T* dy, const float* a, const float* b, bool silu, const float* e, const float* f, T* dx), \
      (r, x, dy, a, b, silu, e, f, dx))
LOWRANK_COMBINE(float)
LOWRANK_COMBINE(at::BFloat16)
#undef LOWRANK_COMBINE

struct Norm {
  int64_t groups, channels, pixels;
  double eps;
  bool silu;
  const float *weight, *bias;  // [channels]

  int64_t width() const { return channels / groups; }  // of a group
  double count() const { return static_cast<double>(width() * pixels); }
};

/// Numbers of the channels of one piece of work.
struct Channels {
  explicit Channels(int64_t count) : a(at(count)), b(at(count)), sums(at(count)), dots(at(count)) {}
  static std::vector<float> at(int64_t count) { return std::vector<float>(static_cast<size_t>(count)); }
  std::vector<float> a, b, sums, dots;
};

/// body(picture, first group, groups) for pieces of a picture's channels, on all threads.
template <class Body>
void for_each_piece(int64_t pictures, int64_t groups, Body&& body) {
  const int64_t pieces = (groups + kGroups - 1) / kGroups;
  tensor::parallel_for(0, pictures * pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % pieces * kGroups;
      body(i / pieces, first, std::min(kGroups, groups - first));
    }
  });
}

/// value(group's sum)/count for every channel of the groups.
template <class Value>
void spread(const std::vector<float>& sums, int64_t width, Value&& value, float* to) {
  for (size_t group = 0; group * static_cast<size_t>(width) < sums.size(); ++group) {
    const auto begin = sums.begin() + static_cast<int64_t>(group) * width;
    double sum = 0;
    for (int64_t c = 0; c < width; ++c) sum += static_cast<double>(begin[c]);
    std::fill_n(to + static_cast<int64_t>(group) * width, width, static_cast<float>(value(sum, group)));
  }
}

template <class T>
void forward(const Norm& n, const at::Tensor& x, const at::Tensor& y, const at::Tensor& means, const at::Tensor& scales) {
  const T* from = x.const_data_ptr<T>();
  T* to = y.mutable_data_ptr<T>();
  float *mean = means.mutable_data_ptr<float>(), *scale = scales.mutable_data_ptr<float>();
  for_each_piece(x.size(0), n.groups, [&](int64_t picture, int64_t first, int64_t groups) {
    const int64_t width = n.width(), channel = first * width, start = picture * n.pixels * n.channels + channel;
    const Rows rows{n.pixels, groups * width, n.channels};
    Channels each(rows.channels);
    channel_sums(rows, from + start, nullptr, false, each.sums.data());
    spread(
        each.sums, width, [&](double sum, size_t) { return sum / n.count(); }, each.b.data());
    std::fill(each.sums.begin(), each.sums.end(), 0.0F);
    channel_sums(rows, from + start, each.b.data(), true, each.sums.data());
    spread(
        each.sums, width, [&](double sum, size_t) { return 1.0 / std::sqrt(sum / n.count() + n.eps); }, each.a.data());
    for (int64_t g = 0; g < groups; ++g) {
      mean[picture * n.groups + first + g] = each.b[static_cast<size_t>(g * width)];
      scale[picture * n.groups + first + g] = each.a[static_cast<size_t>(g * width)];
    }
    for (size_t c = 0; c < each.a.size(); ++c) {
      each.a[c] *= n.weight[channel + static_cast<int64_t>(c)];
      each.b[c] = n.bias[channel + static_cast<int64_t>(c)] - each.b[c] * each.a[c];
    }
    applied(rows, from + start, each.a.data(), each.b.data(), n.silu, to + start);
  });
}

// dx = r·(w·d − mean(w·d) − x̂·mean(w·d·x̂)) with x̂ = (x − m)·r, sums over the group.
template <class T>
void backward(const Norm& n, const at::Tensor& x, const at::Tensor& dy, const at::Tensor& dx, const at::Tensor& means,
              const at::Tensor& scales) {
  const T *from = x.const_data_ptr<T>(), *given = dy.const_data_ptr<T>();
  T* to = dx.mutable_data_ptr<T>();
  const float *mean = means.const_data_ptr<float>(), *scale = scales.const_data_ptr<float>();
  for_each_piece(x.size(0), n.groups, [&](int64_t picture, int64_t first, int64_t groups) {
    const int64_t width = n.width(), channel = first * width, start = picture * n.pixels * n.channels + channel;
    const float *m = mean + picture * n.groups + first, *r = scale + picture * n.groups + first;
    const Rows rows{n.pixels, groups * width, n.channels};
    Channels each(rows.channels);
    std::vector<float> e(each.a.size()), f(each.a.size());
    const auto group_of = [&](size_t c) { return static_cast<int64_t>(c) / width; };
    for (size_t c = 0; c < each.a.size(); ++c) {
      each.a[c] = r[group_of(c)] * n.weight[channel + static_cast<int64_t>(c)];
      each.b[c] = n.bias[channel + static_cast<int64_t>(c)] - m[group_of(c)] * each.a[c];
    }
    gradient_sums(rows, from + start, given + start, each.a.data(), each.b.data(), n.silu, each.sums.data(), each.dots.data());
    for (size_t c = 0; c < each.a.size(); ++c) {
      const float w = n.weight[channel + static_cast<int64_t>(c)];
      each.dots[c] = w * (each.dots[c] - m[group_of(c)] * each.sums[c]) * r[group_of(c)];
      each.sums[c] *= w;
    }
    spread(
        each.dots, width, [&](double sum, size_t g) { return sum / n.count() * r[g] * r[g]; }, e.data());
    spread(
        each.sums, width, [&](double sum, size_t g) { return sum / n.count() * r[g]; }, f.data());
    for (size_t c = 0; c < f.size(); ++c) f[c] -= m[group_of(c)] * e[c];
    combined(rows, from + start, given + start, each.a.data(), each.b.data(), n.silu, e.data(), f.data(), to + start);
  });
}

at::Tensor wide(const at::Tensor& t) { return t.detach().to(at::kFloat).contiguous(); }

struct GroupNorm : torch::autograd::Function<GroupNorm> {
  static Norm norm_of(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias, double eps, bool silu) {
    return {groups, x.size(1), x.size(2) * x.size(3), eps, silu, weight.const_data_ptr<float>(), bias.const_data_ptr<float>()};
  }

  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            int64_t groups, double eps, bool silu) {
    const at::Tensor y = at::empty(x.sizes(), x.options().memory_format(kLast)), w = wide(weight), b = wide(bias),
                     means = at::empty({x.size(0), groups}, x.options().dtype(at::kFloat)), scales = at::empty_like(means);
    const Norm norm = norm_of(x, groups, w, b, eps, silu);
    if (x.scalar_type() == at::kFloat)
      kernels::forward<float>(norm, x, y, means, scales);
    else
      kernels::forward<at::BFloat16>(norm, x, y, means, scales);
    ctx->saved_data["groups"] = groups;
    ctx->saved_data["eps"] = eps;
    ctx->saved_data["silu"] = silu;
    ctx->save_for_backward({x, w, b, means, scales});
    return y;
  }

  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::tensor_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &w = saved[1], &b = saved[2], dy = grads[0].contiguous(kLast), dx = at::empty_like(dy);
    const Norm norm =
        norm_of(x, ctx->saved_data["groups"].toInt(), w, b, ctx->saved_data["eps"].toDouble(), ctx->saved_data["silu"].toBool());
    if (x.scalar_type() == at::kFloat)
      kernels::backward<float>(norm, x, dy, dx, saved[3], saved[4]);
    else
      kernels::backward<at::BFloat16>(norm, x, dy, dx, saved[3], saved[4]);
    return {dx, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor group_norm(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias, double eps, bool silu) {
  const bool own = x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) && x.dim() == 4 && x.numel() > 0 &&
                   !x.is_contiguous() && x.is_contiguous(kLast) && x.size(1) % groups == 0 && !weight.requires_grad() &&
                   !bias.requires_grad();
  if (own) return GroupNorm::apply(x, weight, bias, groups, eps, silu);
  const at::Tensor y = at::group_norm(x, groups, weight, bias, eps);
  return silu ? at::silu(y) : y;
}

}  // namespace lowrank::kernels
