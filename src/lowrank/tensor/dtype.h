// The one table between stored dtypes (io::DType) and libtorch's.
#pragma once

#include <c10/core/ScalarType.h>
#include <string_view>

#include "lowrank/io/tensor_file.h"

namespace lowrank::tensor {

/// Throws Error{unsupported} for a dtype that libtorch has no type for.
c10::ScalarType to_torch(io::DType dtype);
io::DType to_io(c10::ScalarType dtype);

/// "float32", "bfloat16" and so on, as users write them. Throws Error{invalid_argument} for anything else.
c10::ScalarType parse_dtype(std::string_view name);
std::string_view dtype_name(c10::ScalarType dtype);

}  // namespace lowrank::tensor
