#include "lowrank/kernels/lowrank_gradients_cpu.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <vector>

#include "lowrank/kernels/narrow_product.h"
#include "lowrank/kernels/rank_projection.h"
#include "lowrank/tensor/parallel.h"

namespace lowrank::kernels {

namespace {

constexpr int64_t kMostRuns = 32, kLeastRows = 96;  // of a run of rows that one thread sums
constexpr int64_t kBlockNumbers = 1 << 16;          // of x and dy in a block: half of a small second-level cache

/// The sizes of W' = l×m blocks of k×n, and of the work.
struct Sizes {
  int64_t rows, l, k, m, n, rank, columns, mix_columns;  // the last two padded
  int64_t out() const { return l * k; }
  int64_t in() const { return m * n; }
  int64_t runs() const { return std::clamp<int64_t>(rows / std::max(kLeastRows, 2 * columns), 1, kMostRuns); }
  int64_t block_rows() const { return std::clamp<int64_t>(kBlockNumbers / (in() + out()) / 6 * 6, 6, 96); }
};

/// Where the sums of one run lie in its row of the table.
struct Layout {
  explicit Layout(const Sizes& s)
      : b(s.n * s.columns), mix(b + s.k * s.columns), dots(mix + s.l * s.mix_columns), sums(dots + s.out()), size(sums + s.out()) {}
  int64_t a = 0, b, mix, dots, sums, size;
};

template <class T>
struct Pointers {
  const T *x, *dy, *y;   // y null without dgain
  const T *a, *b, *mix;  // Aᵀ [n, columns], scale·(gain ⊙ B) [k, columns], mix null for the number 1
  T* g;                  // [rows·m, rank]; null unless wanted
  bool column_sums;
};

/// C [rows, columns] = P·Q, all without gaps.
template <class T>
void product(int64_t rows, int64_t columns, int64_t depth, Strided<T> p, const T* q, T* c) {
  narrow_product(rows, columns, depth, p, {q, columns}, {c, columns}, {});
}

/// C += P·Q.
template <class T>
void add_product(int64_t rows, int64_t columns, int64_t depth, Strided<T> p, const T* q, T* c) {
  narrow_product(rows, columns, depth, p, {q, columns}, {c, columns}, {c, columns});
}

/// Rank-space activations of a block of rows. Without a mix the mixed ones are the others.
template <class T>
class Block {
 public:
  Block(const Sizes& s, const Pointers<T>& p, T* sums)
      : s_(s),
        p_(p),
        at_(s),
        sums_(sums),
        h_(size(s.m)),
        g_(size(s.l)),
        h_mixed_(p.mix ? size(s.l) : 0),
        g_mixed_(p.mix ? size(s.m) : 0),
        transposed_(p.mix ? static_cast<size_t>(s.columns * s.mix_columns) : 0) {}

  void add(int64_t first, int64_t count) {
    const T *x = p_.x + first * s_.in(), *dy = p_.dy + first * s_.out();
    product(count * s_.m, s_.columns, s_.n, {x, s_.n, 1}, p_.a, h_.data());
    product(count * s_.l, s_.columns, s_.k, {dy, s_.k, 1}, p_.b, g_.data());
    if (p_.mix) mix(count);
    const T *h = p_.mix ? h_mixed_.data() : h_.data(), *g = p_.mix ? g_mixed_.data() : g_.data();
    add_product(s_.n, s_.columns, count * s_.m, {x, 1, s_.n}, g, sums_ + at_.a);
    add_product(s_.k, s_.columns, count * s_.l, {dy, 1, s_.k}, h, sums_ + at_.b);
    for (int64_t i = 0; p_.g && i < count * s_.m; ++i) std::copy_n(g + i * s_.columns, s_.rank, p_.g + (first * s_.m + i) * s_.rank);
    if (p_.y) add_dots(dy, p_.y + first * s_.out(), count);
    if (p_.column_sums) add_columns(dy, count);
  }

 private:
  size_t size(int64_t blocks) const { return static_cast<size_t>(std::min(s_.rows, s_.block_rows()) * blocks * s_.columns); }

  void mix(int64_t count) {
    for (int64_t row = 0; row < count; ++row) {
      const T *h = h_.data() + row * s_.m * s_.columns, *g = g_.data() + row * s_.l * s_.columns;
      product(s_.l, s_.columns, s_.m, {p_.mix, s_.m, 1}, h, h_mixed_.data() + row * s_.l * s_.columns);
      product(s_.m, s_.columns, s_.l, {p_.mix, 1, s_.m}, g, g_mixed_.data() + row * s_.m * s_.columns);
      for (int64_t j = 0; j < s_.m; ++j) {
        for (int64_t r = 0; r < s_.columns; ++r) transposed_[r * s_.mix_columns + j] = h[j * s_.columns + r];
      }
      add_product(s_.l, s_.mix_columns, s_.columns, {g, s_.columns, 1}, transposed_.data(), sums_ + at_.mix);
    }
  }

  void add_dots(const T* dy, const T* y, int64_t count) {
    T* dots = sums_ + at_.dots;
    for (int64_t row = 0; row < count; ++row) {
      for (int64_t j = 0; j < s_.out(); ++j) dots[j] += dy[row * s_.out() + j] * y[row * s_.out() + j];
    }
  }

  void add_columns(const T* dy, int64_t count) {
    T* sums = sums_ + at_.sums;
    for (int64_t row = 0; row < count; ++row) {
      for (int64_t j = 0; j < s_.out(); ++j) sums[j] += dy[row * s_.out() + j];
    }
  }

  const Sizes& s_;
  const Pointers<T>& p_;
  Layout at_;
  T* sums_;
  std::vector<T> h_, g_, h_mixed_, g_mixed_, transposed_;
};

/// The runs' sums, added up in their order: [Layout::size].
template <class T>
at::Tensor summed(const Sizes& s, const Pointers<T>& p, const at::TensorOptions& options) {
  const int64_t runs = s.runs(), size = Layout(s).size;
  const at::Tensor table = at::zeros({runs, size}, options);
  tensor::parallel_for(0, runs, 1, [&](int64_t begin, int64_t end) {
    for (int64_t run = begin; run < end; ++run) {
      Block<T> block(s, p, table.mutable_data_ptr<T>() + run * size);
      const int64_t last = s.rows * (run + 1) / runs;
      for (int64_t row = s.rows * run / runs; row < last; row += s.block_rows()) block.add(row, std::min(s.block_rows(), last - row));
    }
  });
  return runs == 1 ? table[0] : table.sum(0);
}

template <class T>
LowRankGradients gradients(const LowRankUpdate& update, const GradientRequest& request) {
  const Sizes s{.rows = request.dy.size(0),
                .l = update.out_blocks(),
                .k = update.B.size(0),
                .m = update.in_blocks(),
                .n = update.A.size(1),
                .rank = update.rank(),
                .columns = padded_columns<T>(update.rank()),
                .mix_columns = padded_columns<T>(update.in_blocks())};
  const bool with_gain = update.gain.defined(), with_mix = update.mix.defined(), of_bias = request.y.defined() && request.bias.defined();
  const at::Tensor a = with_columns(update.A.t(), s.columns), mix = with_mix ? update.mix.contiguous() : update.mix,
                   row_scale = with_gain ? update.gain.unsqueeze(1) * update.scale : at::Tensor(),
                   b = with_columns(with_gain ? update.B * row_scale : update.B * update.scale, s.columns);
  LowRankGradients result;
  if (request.g) result.g = at::empty({s.rows * s.m, s.rank}, request.dy.options());
  const Pointers<T> p{.x = request.x.const_data_ptr<T>(),
                      .dy = request.dy.const_data_ptr<T>(),
                      .y = request.y.defined() ? request.y.const_data_ptr<T>() : nullptr,
                      .a = a.const_data_ptr<T>(),
                      .b = b.const_data_ptr<T>(),
                      .mix = with_mix ? mix.const_data_ptr<T>() : nullptr,
                      .g = request.g ? result.g.mutable_data_ptr<T>() : nullptr,
                      .column_sums = request.dbias || of_bias};
  const at::Tensor sums = summed(s, p, request.dy.options());
  const Layout at(s);
  const auto part = [&](int64_t begin, int64_t rows, int64_t columns, int64_t used) {
    return sums.slice(0, begin, begin + rows * columns).view({rows, columns}).slice(1, 0, used);
  };
  result.dA = part(at.a, s.n, s.columns, s.rank).t();
  result.dB = with_gain ? part(at.b, s.k, s.columns, s.rank) * row_scale : part(at.b, s.k, s.columns, s.rank) * update.scale;
  if (with_mix) result.dmix = part(at.mix, s.l, s.mix_columns, s.m);
  const at::Tensor column_sums = sums.slice(0, at.sums, at.size);
  if (request.y.defined()) {
    at::Tensor dots = sums.slice(0, at.dots, at.sums);
    if (of_bias) dots = dots - request.bias * column_sums;
    result.dgain = at::where(update.gain == 0, 0, dots / update.gain);
  }
  if (request.dbias) result.dbias = column_sums;
  return result;
}

}  // namespace

LowRankGradients cpu_lowrank_gradients(const LowRankUpdate& update, const GradientRequest& request) {
  return AT_DISPATCH_FLOATING_TYPES(request.dy.scalar_type(), "lowrank_gradients", [&] { return gradients<scalar_t>(update, request); });
}

}  // namespace lowrank::kernels
