#include "lowrank/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "lowrank/base/error.h"

namespace lowrank::train {

double Schedule::factor(int64_t step) const {
  if (step < warmup) return static_cast<double>(step) / static_cast<double>(std::max<int64_t>(1, warmup));
  if (kind == "constant") return 1.0;
  const double span = static_cast<double>(std::max<int64_t>(1, total - warmup));
  if (kind == "linear") return std::max(0.0, static_cast<double>(total - step) / span);
  check(kind == "cosine", ErrorKind::invalid_argument, "schedule", "expected constant, linear or cosine, got '{}'", kind);
  return std::max(0.0, 0.5 * (1.0 + std::cos(std::numbers::pi * static_cast<double>(step - warmup) / span)));
}

int64_t warmup_steps(double fraction, int64_t total) { return static_cast<int64_t>(std::ceil(fraction * static_cast<double>(total))); }

}  // namespace lowrank::train
