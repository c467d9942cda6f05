// A model over a whole data set, without gradients, in batches of a token budget; results in the data set's order.
#pragma once

#include <ATen/core/Tensor.h>

#include "lowrank/base/progress.h"
#include "lowrank/base/stop.h"
#include "lowrank/data/batches.h"
#include "lowrank/evaluate/robustness.h"
#include "lowrank/models/image_model.h"
#include "lowrank/models/text_model.h"

namespace lowrank::evaluate {

/// The batch as tensors on `device`; no dropout keys.
nn::Packed to_packed(const data::Batch& batch, at::Device device);

/// The batch as `model` reads it: texts packed, pixels normalised, on the model's device; no dropout keys. Error{invalid_argument} for
/// pictures and a model of texts, or the other way round.
models::Batch to_model(const data::Batch& batch, const models::Model& model, const PictureChange& change = {});

/// What to_model() says without a batch. `where` says whose data it is.
void check_reads(const models::Model& model, const data::Dataset& dataset, const std::string& where);

/// Where the model's parameters are.
at::Device device_of(const models::Model& model);

struct ForwardOptions {
  int64_t token_budget = 4096;                      // tokens a batch
  ProgressSink progress;                            // stage "evaluate", in examples
  const StopToken* stop = nullptr;                  // Error{cancelled} when set
  models::Pooling pooling = models::Pooling::mean;  // embedding task only
  PictureChange change;                             // of pictures alone, before they are normalised; none: as they are
};

/// [n, C] logits (single_label, multi_label), [n, 1] values (regression), or [n] cosine similarities of pairs (embedding),
/// float32 on the CPU.
at::Tensor outputs_of(models::Model& model, const data::Dataset& dataset, const ForwardOptions& options = {});

/// [n, D] unit-length (when `normalise`) embeddings, float32 on the CPU; a picture's is its class token, whatever the pooling.
at::Tensor embeddings_of(models::Model& model, const data::Dataset& dataset, models::Pooling pooling, bool normalise,
                         const ForwardOptions& options = {});

}  // namespace lowrank::evaluate
