// Where and in what dtype layers put the weights that they are made with.
#pragma once

#include <ATen/core/Tensor.h>

namespace lowrank::nn {

/// What becomes of new layers' weights: they stay, or a checkpoint's take their place before anything reads them.
enum class NewWeightsAre { kept, replaced };

/// While it lives, this thread's new layers take dtype and device from it: the dtype that a checkpoint will be cast to (so that
/// no float32 copy is made first), or the meta device for names and shapes without memory. Default: float32 on the CPU.
/// Weights that are replaced are one number seen in every place, so that a model is never in memory twice.
class NewWeights {
 public:
  explicit NewWeights(const c10::TensorOptions& options, NewWeightsAre use = NewWeightsAre::kept);
  ~NewWeights();
  NewWeights(const NewWeights&) = delete;
  NewWeights& operator=(const NewWeights&) = delete;

  struct Choice {
    c10::TensorOptions options;
    NewWeightsAre use = NewWeightsAre::kept;
  };

 private:
  Choice before_;
};

/// A new layer's weight, `value` everywhere.
at::Tensor new_weight(at::IntArrayRef shape, double value = 0);

}  // namespace lowrank::nn
