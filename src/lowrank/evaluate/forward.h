// A model over a whole data set, without gradients, in batches of a token budget; results in the data set's order.
#pragma once

#include <ATen/core/Tensor.h>

#include "lowrank/base/progress.h"
#include "lowrank/base/stop.h"
#include "lowrank/data/batches.h"
#include "lowrank/models/text_model.h"
#include "lowrank/nn/packed.h"

namespace lowrank::evaluate {

/// The batch as tensors on `device`; no dropout keys.
nn::Packed to_packed(const data::Batch& batch, at::Device device);

/// Where the model's parameters are.
at::Device device_of(const models::TextModel& model);

struct ForwardOptions {
  int64_t token_budget = 4096;                      // tokens a batch
  ProgressSink progress;                            // stage "evaluate", in examples
  const StopToken* stop = nullptr;                  // Error{cancelled} when set
  models::Pooling pooling = models::Pooling::mean;  // embedding task only
};

/// [n, C] logits (single_label, multi_label), [n, 1] values (regression), or [n] cosine similarities of pairs (embedding),
/// float32 on the CPU.
at::Tensor outputs_of(models::TextModel& model, const data::Dataset& dataset, const ForwardOptions& options = {});

/// [n, D] unit-length (when `normalise`) embeddings, float32 on the CPU.
at::Tensor embeddings_of(models::TextModel& model, const data::Dataset& dataset, models::Pooling pooling, bool normalise,
                         const ForwardOptions& options = {});

}  // namespace lowrank::evaluate
