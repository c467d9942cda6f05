#include "lowrank/tensor/runtime.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <malloc.h>
#include <sched.h>

#include "lowrank/base/error.h"
#include "lowrank/tensor/block_pool.h"
#include "lowrank/tensor/dtype.h"

namespace lowrank::tensor {

namespace {

int usable_processors() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

/// The value of the first "key : value" line of /proc/cpuinfo.
std::string cpuinfo(std::string_view key) {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with(key)) return line.substr(std::min(line.size(), line.find(':') + 2));
  }
  return "unknown";
}

bool has_cpu_flag(std::string_view flag) {
  const std::string flags = " " + cpuinfo("flags") + " ";
  return flags.find(fmt::format(" {} ", flag)) != std::string::npos;
}

std::string_view vector_units() {
  for (const std::string_view flag : {"amx_bf16", "avx512_bf16", "avx512f", "avx2"}) {
    if (has_cpu_flag(flag)) return flag;
  }
  return "baseline";
}

}  // namespace

void initialise_runtime(int64_t threads) {
  // A step takes and frees the same blocks again and again. Handed back to the system each time, they come back as page faults, a
  // twentieth of a step; return_free_memory() does it where it is wanted.
  ::mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the highest that glibc takes
  ::mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  // libtorch puts large tensors on large pages if asked: a frozen weight is read with long strides, a page a row.
  ::setenv("THP_MEM_ALLOC_ENABLE", "1", /*overwrite=*/0);
  ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);  // without it CUDA's products are not the same every time
  install_block_pool();
  at::set_num_threads(threads > 0 ? static_cast<int>(threads) : usable_processors());
  // An operation without a deterministic way is an error: a warning would let attention on CUDA choose the other one.
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  // float32 is float32 on every device; who wants speed chooses bfloat16.
  at::globalContext().setAllowTF32CuDNN(false);
  // Filling every fresh buffer is a debugging aid that costs a pass over memory.
  at::globalContext().setDeterministicFillUninitializedMemory(false);
}

c10::Device parse_device(std::string_view name) {
  if (name == "auto") return at::hasCUDA() ? c10::Device(c10::kCUDA, 0) : c10::Device(c10::kCPU);
  if (name == "cpu") return c10::kCPU;
  if (name == "cuda" || name.starts_with("cuda:")) {
    check(at::hasCUDA(), ErrorKind::unsupported, "--device", "expected a CUDA device, but libtorch finds none here");
    return name == "cuda" ? c10::Device(c10::kCUDA, 0) : c10::Device(std::string(name));
  }
  fail(ErrorKind::invalid_argument, "--device", fmt::format("expected auto, cpu, cuda or cuda:N, got '{}'", name));
}

bool prefers_bfloat16(c10::Device device) { return device.is_cuda() || has_cpu_flag("amx_bf16") || has_cpu_flag("avx512_bf16"); }

c10::ScalarType compute_dtype(std::string_view name, c10::Device device) {
  if (name != "auto") return parse_dtype(name);
  return prefers_bfloat16(device) ? at::kBFloat16 : at::kFloat;
}

std::string machine_description() {
  return fmt::format("{}, {} threads, {}", cpuinfo("model name"), at::get_num_threads(), vector_units());
}

}  // namespace lowrank::tensor
