// Where and in what dtype layers put the zero weights that they are made with.
#pragma once

#include <c10/core/TensorOptions.h>

namespace lowrank::nn {

/// While it lives, this thread's new layers take dtype and device from it: the dtype that a checkpoint will be cast to (so that
/// no float32 copy is made first), or the meta device for names and shapes without memory. Default: float32 on the CPU.
class NewWeights {
 public:
  explicit NewWeights(const c10::TensorOptions& options);
  ~NewWeights();
  NewWeights(const NewWeights&) = delete;
  NewWeights& operator=(const NewWeights&) = delete;

 private:
  c10::TensorOptions before_;
};

const c10::TensorOptions& new_weights();

}  // namespace lowrank::nn
