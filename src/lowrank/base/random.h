// Randomness as a pure function of (seed, purpose, step, item): independent of batch order, thread count and resume.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace lowrank {

/// A stream of random numbers that depends on its key alone. Counter-based (SplitMix64 finaliser over key and counter),
/// so equal on every machine. Not for cryptography.
class RandomStream {
 public:
  /// `purpose` separates independent uses ("shuffle", "init:lora_A", "dropout"); `step` and `item` address one draw site.
  RandomStream(uint64_t seed, std::string_view purpose, uint64_t step = 0, uint64_t item = 0);

  uint64_t next_u64();
  double uniform();                // [0, 1), 53 bits
  double normal();                 // mean 0, variance 1 (Box-Muller)
  uint64_t below(uint64_t bound);  // 0 … bound-1, unbiased; bound > 0

  /// 0 … n-1 in random order (Fisher-Yates).
  std::vector<int64_t> permutation(int64_t n);

 private:
  uint64_t key_, counter_ = 0;
};

}  // namespace lowrank
