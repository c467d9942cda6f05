#include "lowrank/tensor/parallel.h"

#include <ATen/Parallel.h>
#include <algorithm>
#include <atomic>
#include <dlfcn.h>
#include <exception>
#include <mutex>

namespace lowrank::tensor {

namespace {

using RunOnThreads = void (*)(void (*work)(void*), void* argument, unsigned threads, unsigned flags);

/// The runtime's entry point for a parallel region, as compilers call it.
RunOnThreads run_on_threads() {
  static const auto found = reinterpret_cast<RunOnThreads>(::dlsym(RTLD_DEFAULT, "GOMP_parallel"));
  return found;
}

struct Loop {
  const int64_t end, grain;
  const std::function<void(int64_t, int64_t)>& body;
  std::atomic<int64_t> next;
  std::once_flag failed;
  std::exception_ptr error;

  void work() noexcept {
    try {
      for (int64_t first = next.fetch_add(grain); first < end; first = next.fetch_add(grain)) body(first, std::min(first + grain, end));
    } catch (...) {
      next = end;
      std::call_once(failed, [&] { error = std::current_exception(); });
    }
  }
};

}  // namespace

void parallel_for(int64_t begin, int64_t end, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  const int64_t pieces = (end - begin + grain - 1) / grain;
  const auto threads = static_cast<unsigned>(std::min<int64_t>(pieces, at::get_num_threads()));
  if (pieces <= 0) return;
  if (threads == 1 || at::in_parallel_region() || run_on_threads() == nullptr) return body(begin, end);
  Loop loop{.end = end, .grain = grain, .body = body, .next = begin, .failed = {}, .error = nullptr};
  run_on_threads()([](void* argument) { static_cast<Loop*>(argument)->work(); }, &loop, threads, 0);
  if (loop.error) std::rethrow_exception(loop.error);
}

}  // namespace lowrank::tensor
