// The one table of tolerances. A test that needs a wider bound states the error it observed.
#pragma once

#include <c10/core/ScalarType.h>

namespace lowrank::test {

inline double tolerance(c10::ScalarType dtype) {
  switch (dtype) {
    case c10::kDouble: return 1e-10;
    case c10::kFloat: return 1e-5;
    case c10::kHalf: return 1e-2;
    default: return 4e-2;  // bfloat16
  }
}

}  // namespace lowrank::test
