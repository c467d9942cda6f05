// The machine below: threads, device, memory. Programs call these at start; the library never does by itself.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>
#include <cstdint>
#include <string>
#include <string_view>

namespace lowrank::tensor {

/// Sets libtorch's intra-op threads (0: one a physical core this process may use) and its determinism flags.
void initialise_runtime(int64_t threads);

/// "cpu", "cuda", "cuda:1", or "auto" (cuda when there is one). Throws Error{invalid_argument | unsupported}.
c10::Device parse_device(std::string_view name);

/// Resident memory of this process now, and its highest so far, in bytes.
int64_t resident_bytes();
int64_t peak_resident_bytes();
/// Starts a new peak (Linux: /proc/self/clear_refs), so that one phase can be measured.
void reset_peak_resident();
/// Gives memory that was freed back to the system (glibc's malloc_trim), so that resident_bytes() counts what is in use.
void return_free_memory();

/// Memory this process may still take: the least of what the system has free and the cgroup allows, in bytes.
int64_t available_bytes();

/// True when bf16 matrix products are faster than float32 ones here (AVX-512 bf16 or AMX on the CPU; always on CUDA).
bool prefers_bfloat16(c10::Device device);
/// What a user means by a dtype: a name of tensor/dtype.h, or "auto", bfloat16 where the device prefers it and float32 elsewhere.
c10::ScalarType compute_dtype(std::string_view name, c10::Device device);

/// "AMD EPYC, 2 threads, avx2" for reports.
std::string machine_description();

}  // namespace lowrank::tensor
