// The machine below: threads, devices, dtypes. Programs call these at start; the library never does by itself.
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

/// True when bf16 matrix products are faster than float32 ones here (AVX-512 bf16 or AMX on the CPU; always on CUDA).
bool prefers_bfloat16(c10::Device device);
/// What a user means by a dtype: a name of tensor/dtype.h, or "auto", bfloat16 where the device prefers it and float32 elsewhere.
c10::ScalarType compute_dtype(std::string_view name, c10::Device device);

/// "AMD EPYC, 2 threads, avx2" for reports.
std::string machine_description();

}  // namespace lowrank::tensor
