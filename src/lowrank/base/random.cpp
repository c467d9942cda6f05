#include "lowrank/base/random.h"

#include <cmath>
#include <numbers>
#include <numeric>

namespace lowrank {

namespace {

// SplitMix64's finaliser (Steele, Lea, Flood 2014): every output bit depends on every input bit.
uint64_t mix(uint64_t value) {
  value += 0x9E3779B97F4A7C15ULL;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ULL;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBULL;
  return value ^ (value >> 31);
}

}  // namespace

RandomStream::RandomStream(uint64_t seed, std::string_view purpose, uint64_t step, uint64_t item) : key_(mix(seed)) {
  for (const char letter : purpose) key_ = mix(key_ ^ static_cast<unsigned char>(letter));
  key_ = mix(key_ ^ mix(step));
  key_ = mix(key_ ^ mix(item + 0x632BE59BD9B4E019ULL));
}

uint64_t RandomStream::next_u64() { return mix(key_ + mix(counter_++)); }

double RandomStream::uniform() { return static_cast<double>(next_u64() >> 11) * 0x1.0p-53; }

double RandomStream::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

uint64_t RandomStream::below(uint64_t bound) {
  const uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
  uint64_t value = next_u64();
  while (value >= limit) value = next_u64();
  return value % bound;
}

std::vector<int64_t> RandomStream::permutation(int64_t n) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[below(i)]);
  return order;
}

}  // namespace lowrank
