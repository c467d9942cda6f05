#include "lowrank/kernels/lowrank_gradients_cpu.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <optional>
#include <type_traits>

#include "lowrank/kernels/adapted_rows.h"
#include "lowrank/kernels/column_sums.h"
#include "lowrank/kernels/rank_arithmetic.h"
#include "lowrank/kernels/rank_mix.h"
#include "lowrank/tensor/parallel.h"

namespace lowrank::kernels {

namespace {

constexpr int64_t kMostRuns = 32;  // of rows that one thread sums

/// The sizes of W' = l×m blocks of k×n, and of the work.
struct Sizes {
  int64_t rows, l, k, m, n, rank, columns;  // the last one padded
  int64_t runs, block_rows;
  int64_t out() const { return l * k; }
  int64_t in() const { return m * n; }
};

template <class Arithmetic>
Sizes sizes_of(const LowRankUpdate& update, int64_t rows) {
  Sizes s{.rows = rows,
          .l = update.out_blocks(),
          .k = update.B.size(0),
          .m = update.in_blocks(),
          .n = update.A.size(1),
          .rank = update.rank(),
          .columns = Arithmetic::columns(update.rank()),
          .runs = 0,
          .block_rows = 0};
  constexpr int64_t kMultiple = Arithmetic::kRowMultiple;
  s.runs = std::clamp<int64_t>(rows / std::max(Arithmetic::kLeastRun, 2 * s.columns), 1, kMostRuns);
  if (s.runs > 1) s.runs -= s.runs % 2;  // so that two threads have the same work
  const int64_t most = std::clamp<int64_t>(Arithmetic::kBlockNumbers / (s.in() + s.out()), kMultiple, Arithmetic::kMostRows),
                share = (rows + s.runs - 1) / s.runs, parts = (share + most - 1) / most;
  s.block_rows = (share + parts * kMultiple - 1) / (parts * kMultiple) * kMultiple;
  return s;
}

/// Where the sums of one run lie in its row of the table.
struct Layout {
  explicit Layout(const Sizes& s)
      : b(s.n * s.columns),
        mix(b + s.k * s.columns),
        dots(mix + s.l * s.m * kNarrowLanes<float>),
        sums(dots + s.out()),
        size(sums + s.out()) {}
  int64_t a = 0, b, mix, dots, sums, size;
};

template <class Arithmetic>
struct Pointers {
  using Number = typename Arithmetic::Number;
  const Number *x, *dy, *y;             // y null without dgain
  const Number *a, *b;                  // Aᵀ [n, columns], scale·(gain ⊙ B) [k, columns], as the arithmetic wants them
  const typename Arithmetic::Sum* mix;  // null for the number 1
  Number* g;                            // [rows·m, rank]; null unless wanted
  Number* dx;                           // [rows, m·n]; null unless wanted
  const AdaptedFactors* factors;        // of dx
  at::BFloat16 *all_g, *all_dy;         // [rows·m, rank_depth] and with a gain gain ⊙ dy, where the factors are not kept: dx comes after
  const float* gain;                    // of dx, null for all ones
  bool column_sums;
};

/// Rank-space activations of a block of rows. Without a mix the mixed ones are the others.
template <class Arithmetic>
class Block {
 public:
  using Number = typename Arithmetic::Number;
  using Sum = typename Arithmetic::Sum;

  Block(const Sizes& s, const Pointers<Arithmetic>& p, Sum* sums)
      : s_(s),
        p_(p),
        at_(s),
        sums_(sums),
        arithmetic_(s.columns),
        h_(size(s.m)),
        g_(size(s.l)),
        h_mixed_(p.mix ? size(s.l) : 0),
        g_mixed_(p.mix ? size(s.m) : 0) {}

  void add(int64_t first, int64_t count) {
    const Number *x = p_.x + first * s_.in(), *dy = p_.dy + first * s_.out();
    arithmetic_.project(count * s_.m, s_.n, x, p_.a, h_.get());
    arithmetic_.project(count * s_.l, s_.k, dy, p_.b, g_.get());
    if (p_.mix) mix(count);
    const Sum *h = p_.mix ? h_mixed_.get() : h_.get(), *g = p_.mix ? g_mixed_.get() : g_.get();
    arithmetic_.add_outer(count * s_.m, s_.n, x, g, sums_ + at_.a);
    arithmetic_.add_outer(count * s_.l, s_.k, dy, h, sums_ + at_.b);
    if constexpr (std::is_same_v<Number, at::BFloat16>) add_input_gradient(first, count, dy, g);
    for (int64_t i = 0; p_.g && i < count * s_.m; ++i) std::copy_n(g + i * s_.columns, s_.rank, p_.g + (first * s_.m + i) * s_.rank);
    if (p_.y || p_.column_sums) {
      add_column_sums(count, s_.out(), dy, p_.y ? p_.y + first * s_.out() : nullptr, sums_ + at_.dots,
                      p_.column_sums ? sums_ + at_.sums : nullptr);
    }
  }

 private:
  int64_t size(int64_t blocks) const { return std::min(s_.rows, s_.block_rows) * blocks * s_.columns; }

  void mix(int64_t count) {
    mix_rows(count, s_.l, s_.m, s_.columns, p_.mix, s_.m, 1, h_.get(), h_mixed_.get());
    mix_rows(count, s_.m, s_.l, s_.columns, p_.mix, 1, s_.m, g_.get(), g_mixed_.get());
    add_mix_gradient(count, s_.l, s_.m, s_.columns, g_.get(), h_.get(), sums_ + at_.mix);
  }

  void add_input_gradient(int64_t first, int64_t count, const Number* dy, const Sum* g) {
    if (p_.dx == nullptr) return;
    const int64_t depth = p_.factors->rank_depth();
    at::BFloat16* rounded = p_.all_g ? p_.all_g + first * s_.m * depth : rounded_.at_least(count * s_.m * depth);
    round_rows(count * s_.m, s_.columns, g, s_.columns, 1, nullptr, rounded, depth);
    if (p_.gain) {
      at::BFloat16* gained = p_.all_dy ? p_.all_dy + first * s_.out() : gained_.at_least(count * s_.out());
      scale_columns(count, s_.out(), dy, p_.gain, gained);
      dy = gained;
    }
    if (p_.all_g == nullptr) p_.factors->multiply(count, dy, rounded, nullptr, nullptr, p_.dx + first * s_.in(), dx_sums_);
  }

  const Sizes& s_;
  const Pointers<Arithmetic>& p_;
  Layout at_;
  Sum* sums_;
  Arithmetic arithmetic_;
  Buffer<Sum> h_, g_, h_mixed_, g_mixed_;
  Buffer<at::BFloat16> rounded_, gained_;
  Buffer<float> dx_sums_;
};

/// The runs' sums, added up in their order: [Layout::size].
template <class Arithmetic>
at::Tensor summed(const Sizes& s, const Pointers<Arithmetic>& p, const at::TensorOptions& options) {
  using Sum = typename Arithmetic::Sum;
  const int64_t size = Layout(s).size, blocks = (s.rows + s.block_rows - 1) / s.block_rows;
  const at::Tensor table = at::zeros({s.runs, size}, options);
  tensor::parallel_for(0, s.runs, 1, [&](int64_t begin, int64_t end) {
    for (int64_t run = begin; run < end; ++run) {
      Block<Arithmetic> block(s, p, table.mutable_data_ptr<Sum>() + run * size);
      for (int64_t b = blocks * run / s.runs; b < blocks * (run + 1) / s.runs; ++b) {
        block.add(b * s.block_rows, std::min(s.block_rows, s.rows - b * s.block_rows));
      }
    }
  });
  return s.runs == 1 ? table[0] : table.sum(0);
}

/// (dots − bias·sums)/gain, 0 where the gain is 0; sums may be null.
template <class Sum>
void gain_gradient(int64_t count, const Sum* dots, const Sum* sums, const Sum* bias, const Sum* gain, Sum* result) {
  for (int64_t j = 0; j < count; ++j) result[j] = gain[j] == 0 ? 0 : (sums ? dots[j] - bias[j] * sums[j] : dots[j]) / gain[j];
}

template <class Arithmetic>
LowRankGradients gradients(const LowRankUpdate& update, const GradientRequest& request) {
  using Number = typename Arithmetic::Number;
  using Sum = typename Arithmetic::Sum;
  const Sizes s = sizes_of<Arithmetic>(update, request.dy.size(0));
  const auto sum_dtype = c10::CppTypeToScalarType<Sum>::value;
  const bool with_gain = update.gain.defined(), with_mix = update.mix.defined(), of_bias = request.y.defined() && request.bias.defined();
  const at::Tensor gain = with_gain ? update.gain.to(sum_dtype).contiguous() : update.gain,
                   factors_of_b = with_gain ? gain * update.scale : at::full({s.k}, update.scale, request.dy.options().dtype(sum_dtype)),
                   mix = with_mix ? update.mix.to(sum_dtype).contiguous() : update.mix, a = Arithmetic::of_a(update.A, s.columns),
                   b = Arithmetic::of_b(update.B, factors_of_b, s.columns);
  LowRankGradients result;
  if (request.g) result.g = at::empty({s.rows * s.m, s.rank}, request.dy.options());
  std::optional<AdaptedFactors> factors;
  Buffer<at::BFloat16> all_g, all_dy;
  if (request.weight.defined()) {
    result.dx = at::empty({s.rows, s.in()}, request.dy.options());
    factors = AdaptedFactors::of_input_gradient(request.weight, update);
    if (!factors->is_kept()) all_g.at_least(s.rows * s.m * factors->rank_depth());
    if (!factors->is_kept() && with_gain) all_dy.at_least(s.rows * s.out());
  }
  const Pointers<Arithmetic> p{.x = request.x.const_data_ptr<Number>(),
                               .dy = request.dy.const_data_ptr<Number>(),
                               .y = request.y.defined() ? request.y.const_data_ptr<Number>() : nullptr,
                               .a = a.const_data_ptr<Number>(),
                               .b = b.const_data_ptr<Number>(),
                               .mix = with_mix ? mix.const_data_ptr<Sum>() : nullptr,
                               .g = request.g ? result.g.mutable_data_ptr<Number>() : nullptr,
                               .dx = factors ? result.dx.mutable_data_ptr<Number>() : nullptr,
                               .factors = factors ? &*factors : nullptr,
                               .all_g = all_g.get(),
                               .all_dy = all_dy.get(),
                               .gain = factors && with_gain ? gain.const_data_ptr<float>() : nullptr,
                               .column_sums = request.dbias || of_bias};
  const at::Tensor sums = summed(s, p, request.dy.options().dtype(sum_dtype));
  if constexpr (std::is_same_v<Number, at::BFloat16>) {
    if (p.all_g) factors->multiply_all(s.rows, p.all_dy ? p.all_dy : p.dy, p.all_g, nullptr, nullptr, p.dx);
  }
  const Layout at(s);
  result.dA = Arithmetic::gradient_of_a(sums.slice(0, at.a, at.b), s.n, s.columns, s.rank);
  result.dB = Arithmetic::gradient_of_b(sums.slice(0, at.b, at.mix), factors_of_b, s.columns, s.rank);
  if (with_mix) result.dmix = sums.slice(0, at.mix, at.mix + s.l * s.m * kNarrowLanes<Sum>).view({s.l, s.m, -1}).sum(-1);
  const at::Tensor column_sums = sums.slice(0, at.sums, at.size);
  if (request.y.defined()) {
    const at::Tensor bias = of_bias ? request.bias.to(sum_dtype).contiguous() : gain;
    result.dgain = at::empty_like(gain);
    gain_gradient(s.out(), sums.const_data_ptr<Sum>() + at.dots, of_bias ? column_sums.const_data_ptr<Sum>() : nullptr,
                  bias.const_data_ptr<Sum>(), gain.const_data_ptr<Sum>(), result.dgain.mutable_data_ptr<Sum>());
  }
  if (request.dbias) result.dbias = column_sums.to(request.bias.scalar_type());
  return result;
}

}  // namespace

bool has_cpu_lowrank_gradients(const LowRankUpdate& update, const GradientRequest& request) {
  if (!request.dy.is_cpu() || request.dy.size(0) == 0) return false;
  if (request.dy.scalar_type() == at::kBFloat16) return has_tiles() && update.A.size(1) % 2 == 0 && update.B.size(0) % 2 == 0;
  return request.dy.scalar_type() == at::kFloat || request.dy.scalar_type() == at::kDouble;
}

LowRankGradients cpu_lowrank_gradients(const LowRankUpdate& update, const GradientRequest& request) {
  if (request.dy.scalar_type() == at::kBFloat16) return gradients<TileArithmetic>(update, request);
  return AT_DISPATCH_FLOATING_TYPES(request.dy.scalar_type(), "lowrank_gradients",
                                    [&] { return gradients<VectorArithmetic<scalar_t>>(update, request); });
}

at::Tensor cpu_outer_sum(const at::Tensor& x, const at::Tensor& g) {
  const int64_t rows = x.size(0), width = x.size(1), columns = g.size(1);
  const int64_t blocks = (rows + TileArithmetic::kMostRows - 1) / TileArithmetic::kMostRows,
                runs = std::clamp<int64_t>(rows / std::max(TileArithmetic::kLeastRun, 2 * columns), 1, kMostRuns);
  const at::Tensor table = at::zeros({runs, columns, width}, g.options());
  tensor::parallel_for(0, runs, 1, [&](int64_t begin, int64_t end) {
    for (int64_t run = begin; run < end; ++run) {
      TileArithmetic arithmetic(columns);
      for (int64_t b = blocks * run / runs; b < blocks * (run + 1) / runs; ++b) {
        const int64_t first = b * TileArithmetic::kMostRows;
        arithmetic.add_outer(std::min(TileArithmetic::kMostRows, rows - first), width, x.const_data_ptr<at::BFloat16>() + first * width,
                             g.const_data_ptr<float>() + first * columns, table.mutable_data_ptr<float>() + run * columns * width);
      }
    }
  });
  return runs == 1 ? table[0] : table.sum(0);
}

}  // namespace lowrank::kernels
