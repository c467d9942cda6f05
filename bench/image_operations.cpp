// Times the operations that image models spend most in, forward and backward, the ways that we could run them: attention (packed
// rows against libtorch's), convolution and group norm (contiguous against channels last). Prints one line each; the least of
// several runs.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <chrono>
#include <cstdio>
#include <torch/csrc/autograd/autograd.h>

#include "lowrank/base/error.h"
#include "lowrank/kernels/attention.h"
#include "lowrank/kernels/frozen_conv2d.h"
#include "lowrank/kernels/matrix_unit.h"
#include "lowrank/tensor/dtype.h"

namespace lowrank::bench {

namespace {

template <class Run>
double milliseconds(Run&& run) {
  const auto now = [] { return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count(); };
  run();
  double best = 1e30;
  const double begin = now();
  for (int i = 0; i < 5 || (now() - begin < 400 && i < 200); ++i) {
    const double start = now();
    run();
    best = std::min(best, now() - start);
  }
  return best;
}

/// Forward and backward of y = run(inputs).
template <class Run>
double both_ways(const std::vector<at::Tensor>& inputs, Run&& run) {
  at::Tensor gradient;
  return milliseconds([&] {
    const at::Tensor y = run();
    if (!gradient.defined()) gradient = at::ones_like(y);
    torch::autograd::grad({y}, inputs, {gradient});
  });
}

void attention(int64_t rows, int64_t keys, int64_t heads, int64_t width, at::ScalarType dtype) {
  const auto options = at::TensorOptions().dtype(dtype);
  const auto leaf = [&](int64_t n) { return at::randn({n, heads * width}, options).requires_grad_(); };
  const at::Tensor q = leaf(rows), k = leaf(keys), v = leaf(keys);
  const double packed = both_ways({q, k, v}, [&] { return kernels::packed_attention(q, k, v, {0, rows}, {0, keys}, heads); });
  const auto split = [&](const at::Tensor& x) { return x.view({1, -1, heads, width}).transpose(1, 2); };
  const double theirs = both_ways({q, k, v}, [&] {
    return at::scaled_dot_product_attention(split(q), split(k), split(v)).transpose(1, 2).reshape({rows, -1});
  });
  std::printf("attention %s T %lld keys %lld heads %lld d %lld: packed %.2f ms, scaled_dot_product %.2f ms\n",
              std::string(tensor::dtype_name(dtype)).c_str(), static_cast<long long>(rows), static_cast<long long>(keys),
              static_cast<long long>(heads), static_cast<long long>(width), packed, theirs);
}

void convolution(int64_t channels, int64_t size, int64_t kernel, at::ScalarType dtype) {
  double times[2][2];
  for (const bool last : {false, true}) {
    const auto format = last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
    const auto options = at::TensorOptions().dtype(dtype);
    const at::Tensor x = at::randn({1, channels, size, size}, options).contiguous(format).requires_grad_();
    const at::Tensor w = at::randn({channels, channels, kernel, kernel}, options).contiguous(format);
    times[last][0] = both_ways({x}, [&] { return at::conv2d(x, w, {}, 1, kernel / 2); });
    const at::Tensor gain = at::ones({channels}, options), bias = at::zeros({channels}, options);
    times[last][1] = both_ways({x}, [&] { return at::silu(at::group_norm(x, 32, gain, bias)); });
  }
  std::printf("%s %lldx%lld %lld channels: conv %lldx%lld contiguous %.2f ms, channels last %.2f ms; group norm and silu %.2f, %.2f ms\n",
              std::string(tensor::dtype_name(dtype)).c_str(), static_cast<long long>(size), static_cast<long long>(size),
              static_cast<long long>(channels), static_cast<long long>(kernel), static_cast<long long>(kernel), times[0][0], times[1][0],
              times[0][1], times[1][1]);
}

/// A frozen product and its transpose with weights that no cache holds: a network's layers come round once a step.
void frozen(int64_t rows, int64_t in, int64_t out) {
  const auto options = at::TensorOptions().dtype(at::kBFloat16);
  const at::Tensor x = at::randn({rows, in}, options), dy = at::randn({rows, out}, options);
  std::vector<at::Tensor> weights;
  for (int64_t bytes = 0; bytes < (int64_t{700} << 20); bytes += 2 * in * out) weights.push_back(at::randn({out, in}, options));
  size_t next = 0;
  const auto weight = [&] { return weights[next++ % weights.size()]; };
  const double theirs[] = {milliseconds([&] { at::mm(x, weight().t()); }), milliseconds([&] { at::mm(dy, weight()); })};
  const double ours[] = {milliseconds([&] { kernels::unit_rows(x, weight(), {}); }),
                         milliseconds([&] { kernels::unit_rows_input_gradient(dy, weight()); })};
  std::printf("frozen product of %lld rows, %lld to %lld: library %.3f ms, back %.3f ms; matrix unit %.3f ms, back %.3f ms\n",
              static_cast<long long>(rows), static_cast<long long>(in), static_cast<long long>(out), theirs[0], theirs[1], ours[0],
              ours[1]);
}

/// The same for a 3×3 convolution.
void frozen_convolution(int64_t size, int64_t in, int64_t out) {
  const auto options = at::TensorOptions().dtype(at::kBFloat16);
  const kernels::ConvGeometry c{{3, 3}, {1, 1}, {1, 1}, {1, 1}};
  const at::Tensor x = at::randn({1, in, size, size}, options), dy = at::randn({1, out, size, size}, options);
  std::vector<at::Tensor> weights;
  for (int64_t bytes = 0; bytes < (int64_t{700} << 20); bytes += 18 * in * out) {
    weights.push_back(kernels::laid_out(at::randn({out, in, 3, 3}, options)));
  }
  size_t next = 0;
  const auto weight = [&] { return weights[next++ % weights.size()]; };
  const double forward = milliseconds([&] { kernels::unit_conv2d(x, weight(), {}, c); }),
               back = milliseconds([&] {
                 kernels::unit_conv2d_input_gradient(dy, weight(), c, {size, size});
               });
  std::printf("frozen convolution %lldx%lld, %lld to %lld: matrix unit %.3f ms, back %.3f ms\n", static_cast<long long>(size),
              static_cast<long long>(size), static_cast<long long>(in), static_cast<long long>(out), forward, back);
}

}  // namespace

}  // namespace lowrank::bench

int main() {
  using namespace lowrank::bench;
  at::set_num_threads(2);
  if (lowrank::kernels::has_matrix_unit()) {
    for (const auto& [rows, in, out] : {std::tuple{1024, 320, 320},
                                        {1024, 320, 2560},
                                        {1024, 1280, 320},
                                        {256, 640, 640},
                                        {256, 640, 5120},
                                        {256, 2560, 640},
                                        {64, 1280, 1280},
                                        {64, 1280, 10240},
                                        {64, 5120, 1280},
                                        {80, 768, 1280},
                                        {16, 1280, 10240}}) {
      frozen(rows, in, out);
    }
    for (const auto& [size, in, out] :
         {std::tuple{32, 320, 320}, {32, 960, 320}, {16, 640, 640}, {16, 1920, 640}, {8, 1280, 1280}, {8, 2560, 1280}, {4, 1280, 1280}}) {
      frozen_convolution(size, in, out);
    }
  }
  for (const auto dtype : {at::kBFloat16, at::kFloat}) {
    for (const auto& [channels, size, kernel] : {std::tuple{320, 32, 3}, {640, 16, 3}, {1280, 8, 3}, {320, 32, 1}, {320, 64, 3}}) {
      convolution(channels, size, kernel, dtype);
    }
    for (const auto& [rows, heads, width] : {std::tuple{4096, 8, 40},
                                             {1024, 8, 40},
                                             {1024, 8, 80},
                                             {1024, 10, 64},
                                             {256, 8, 80},
                                             {256, 20, 64},
                                             {256, 8, 160},
                                             {64, 8, 160}}) {
      attention(rows, rows, heads, width, dtype);
      attention(rows, 77, heads, width, dtype);
    }
  }
}
