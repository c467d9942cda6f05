#include "lowrank/kernels/lowrank_apply_cpu.h"

#include <ATen/Parallel.h>
#include <algorithm>

#include "lowrank/kernels/buffer.h"
#include "lowrank/kernels/rank_arithmetic.h"
#include "lowrank/kernels/rank_mix.h"
#include "lowrank/kernels/rounding.h"
#include "lowrank/tensor/parallel.h"

namespace lowrank::kernels {

namespace {

constexpr int64_t kRows = 128;    // of a block
constexpr int64_t kColumns = 64;  // whose sums stay in the first-level cache

const float* floats(const at::Tensor& t) { return t.defined() ? t.const_data_ptr<float>() : nullptr; }

at::Tensor as_floats(const at::Tensor& t) { return t.defined() ? t.detach().to(at::kFloat).contiguous() : t; }

/// Of one thread.
struct Scratch {
  Buffer<float> h, mixed, sums;
  Buffer<at::BFloat16> rounded;
  TileScope scope;
};

/// body(first row, rows, scratch) for blocks of rows, on all threads.
template <class Body>
void for_each_block(int64_t rows, int64_t block, Body&& body) {
  const int64_t blocks = (rows + block - 1) / block;
  tensor::parallel_for(0, blocks, std::max<int64_t>(1, blocks / (4 * at::get_num_threads())), [&](int64_t begin, int64_t end) {
    Scratch scratch;
    for (int64_t b = begin; b < end; ++b) body(b * block, std::min(block, rows - b * block), scratch);
  });
}

/// Asks for memory that is soon read and written, so that it comes while other work is done.
void fetch(int64_t rows, int64_t columns, const at::BFloat16* y, int64_t stride) {
  constexpr int64_t kLine = 64 / sizeof(at::BFloat16);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; j += kLine) __builtin_prefetch(y + i * stride + j, /*write=*/1);
  }
}

/// y ← gain ⊙ (y + p·Q) + bias, some columns at a time; p [rows, depth], Q [depth, width] packed, gain and bias [width] or null.
void add_product(int64_t rows, int64_t width, int64_t depth, const at::BFloat16* p, const at::Tensor& q, at::BFloat16* y, const float* gain,
                 const float* bias, Buffer<float>& buffer) {
  float* sums = buffer.at_least(rows * kColumns);
  for (int64_t j = 0; j < width; j += kColumns) {
    const int64_t columns = std::min(kColumns, width - j);
    fetch(rows, columns, y + j, width);
    tile_product(rows, columns, depth, p, depth, q.const_data_ptr<at::BFloat16>() + j * depth, sums, kColumns, /*add=*/false);
    finish_rows(rows, columns, y + j, width, sums, kColumns, gain ? gain + j : nullptr, bias ? bias + j : nullptr);
  }
}

}  // namespace

bool has_cpu_apply(const LowRankUpdate& update, const at::Tensor& rows) {
  return rows.is_cpu() && rows.scalar_type() == at::kBFloat16 && has_tiles() && update.A.size(1) % 2 == 0 && update.B.size(0) % 2 == 0 &&
         update.rank() % 2 == 0;
}

void cpu_apply_update_(const at::Tensor& y, const at::Tensor& x, const LowRankUpdate& update, const at::Tensor& bias) {
  const int64_t rows = y.size(0), l = update.out_blocks(), k = update.B.size(0), m = update.in_blocks(), n = update.A.size(1),
                columns = TileArithmetic::columns(update.rank());
  const at::Tensor a = TileArithmetic::right(update.A.t(), columns), b = packed_tiles(with_columns(update.B * update.scale, columns).t()),
                   gain = as_floats(update.gain), mix = as_floats(update.mix), added = as_floats(bias);
  const auto* input = x.const_data_ptr<at::BFloat16>();
  auto* output = y.mutable_data_ptr<at::BFloat16>();
  for_each_block(rows, std::max<int64_t>(kRows / std::max(l, m), 8), [&](int64_t first, int64_t count, Scratch& scratch) {
    float* h = scratch.h.at_least(count * m * columns);
    tile_product(count * m, columns, n, input + first * m * n, n, a.const_data_ptr<at::BFloat16>(), h, columns, /*add=*/false);
    if (mix.defined()) {
      float* mixed = scratch.mixed.at_least(count * l * columns);
      mix_rows(count, l, m, columns, floats(mix), m, 1, h, mixed);
      h = mixed;
    }
    at::BFloat16* rounded = scratch.rounded.at_least(count * l * columns);
    round_numbers(count * l * columns, h, rounded);
    add_product(count * l, k, columns, rounded, b, output + first * l * k, floats(gain), floats(added), scratch.sums);
  });
}

void cpu_add_input_gradient_(const at::Tensor& dx, const at::Tensor& g, const LowRankUpdate& update) {
  const int64_t rows = g.size(0), rank = g.size(1), n = update.A.size(1);
  const at::Tensor a = packed_tiles(update.A);
  const auto* ranks = g.const_data_ptr<at::BFloat16>();
  auto* output = dx.mutable_data_ptr<at::BFloat16>();
  for_each_block(rows, kRows, [&](int64_t first, int64_t count, Scratch& scratch) {
    add_product(count, n, rank, ranks + first * rank, a, output + first * n, nullptr, nullptr, scratch.sums);
  });
}

}  // namespace lowrank::kernels
