#include "lowrank/tensor/memory.h"

#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <algorithm>
#include <c10/core/CachingDeviceAllocator.h>
#include <fstream>
#include <limits>
#include <malloc.h>
#include <string>

#include "lowrank/tensor/block_pool.h"

namespace lowrank::tensor {

namespace {

/// The number behind `key` in a file of "Key:  123 kB" lines; -1 when absent.
int64_t kilobytes_of(const char* path, std::string_view key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with(key)) return std::stoll(line.substr(key.size() + 1));
  }
  return -1;
}

int64_t cgroup_free_bytes() {
  std::ifstream limit_file("/sys/fs/cgroup/memory.max"), used_file("/sys/fs/cgroup/memory.current");
  int64_t limit = 0, used = 0;
  if (!(limit_file >> limit) || !(used_file >> used)) return std::numeric_limits<int64_t>::max();
  return std::max<int64_t>(0, limit - used);
}

c10::DeviceIndex index_of(c10::Device device) { return std::max<c10::DeviceIndex>(0, device.index()); }

/// A figure of the allocator's: what all its pools hold together.
c10::CachingAllocator::Stat stat(const c10::CachingAllocator::StatArray& pools) {
  return pools[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)];
}

auto stats_of(c10::Device device) {
  at::globalContext().lazyInitDevice(device.type());
  return c10::getDeviceAllocator(device.type())->getDeviceStats(index_of(device));
}

}  // namespace

int64_t used_bytes(c10::Device device) {
  return device.is_cpu() ? 1024 * kilobytes_of("/proc/self/status", "VmRSS:") : stat(stats_of(device).allocated_bytes).current;
}

int64_t peak_bytes(c10::Device device) {
  return device.is_cpu() ? 1024 * kilobytes_of("/proc/self/status", "VmHWM:") : stat(stats_of(device).allocated_bytes).peak;
}

void reset_peak(c10::Device device) {
  if (device.is_cpu())
    std::ofstream("/proc/self/clear_refs") << "5";
  else
    c10::getDeviceAllocator(device.type())->resetPeakStats(index_of(device));
}

int64_t available_bytes(c10::Device device) {
  if (device.is_cpu()) return std::min(1024 * kilobytes_of("/proc/meminfo", "MemAvailable:"), cgroup_free_bytes());
  const auto stats = stats_of(device);
  const int64_t kept = stat(stats.reserved_bytes).current - stat(stats.allocated_bytes).current;  // for tensors to come
  return static_cast<int64_t>(c10::getDeviceAllocator(device.type())->getMemoryInfo(index_of(device)).first) + kept;
}

void return_free_memory() {
  empty_block_pool();
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

void synchronize(c10::Device device) {
  if (!device.is_cpu()) at::accelerator::synchronizeDevice(index_of(device));
}

}  // namespace lowrank::tensor
