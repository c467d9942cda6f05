// A request to stop, set from a signal handler or another thread and looked at between steps.
#pragma once

#include <atomic>

namespace lowrank {

/// Lock-free, so a signal handler may call request().
class StopToken {
 public:
  void request() { requested_.store(true, std::memory_order_relaxed); }
  bool requested() const { return requested_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> requested_{false};
};

}  // namespace lowrank
