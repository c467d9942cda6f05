// What a device's memory holds: of the CPU this process' resident memory, elsewhere what libtorch's allocator gave out.
#pragma once

#include <c10/core/Device.h>
#include <cstdint>

namespace lowrank::tensor {

/// In use by this process now, and the most at once since reset_peak(), in bytes.
int64_t used_bytes(c10::Device device);
int64_t peak_bytes(c10::Device device);
/// Starts a new peak (of the CPU by Linux' /proc/self/clear_refs), so that one phase can be measured.
void reset_peak(c10::Device device);

/// What this process may still take, in bytes. CPU: the least of what the system has free and the cgroup allows.
int64_t available_bytes(c10::Device device);

/// Gives the CPU's memory that was freed back to the system (glibc's malloc_trim), so that used_bytes() counts what is in use.
void return_free_memory();

/// Waits until the device has done what it was given.
void synchronize(c10::Device device);

}  // namespace lowrank::tensor
