// One dialect's adapter in another's words: as it is where the target can say it, rewritten exactly where it can say the same in
// another form, approximated when asked to, else refused.
#pragma once

#include "lowrank/adapters/dialects/base_weights.h"
#include "lowrank/adapters/dialects/dialect.h"

namespace lowrank::adapters {

struct ConvertOptions {
  int64_t approximate = 0;            // rank for layers that cannot be said exactly; 0: refuse
  const BaseWeights* base = nullptr;  // what DoRA's effect depends on
};

/// One layer whose tensors are not the file's own.
struct LayerChange {
  std::string module, what;
  int64_t rank = 0;
  double error = 0;  // ‖ΔW − ΔW'‖/‖ΔW‖ (Frobenius), of DoRA with ΔW = W' − W
  bool lossy = false;
};

/// Rewrites `record` until `target` refuses no module. Throws Error{unsupported} naming every layer that it cannot say and why, and
/// Error{file_format} when the record holds tensors that nobody understood.
std::vector<LayerChange> fit_to(AdapterRecord& record, const Dialect& target, const ConvertOptions& options);

}  // namespace lowrank::adapters
