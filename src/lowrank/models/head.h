// What every family's head needs: its size, its check, and its dtype.
#pragma once

#include "lowrank/models/model.h"
#include "lowrank/nn/linear.h"

namespace lowrank::models {

/// Outputs of the head: one a label, one for regression. Throws Error{invalid_argument} for labels that are too few,
/// empty or repeated.
int64_t outputs_of(const HeadOptions& head);

/// layer(x) in the layer's own dtype: new heads are float32 over an encoder of any dtype.
at::Tensor head_forward(nn::Linear& layer, const at::Tensor& x, const nn::RowKeys* keys);

/// The last layer of a head: as head_forward, result float32 (float64 from a float64 layer).
at::Tensor head_logits(nn::Linear& layer, const at::Tensor& x, const nn::RowKeys* keys);

/// Throws Error{invalid_argument} for a model without a head.
void require_head(const Model& model);

/// Puts problem_type, id2label and label2id of `head` into a config, as transformers writes them.
void write_head(Json& config, const HeadOptions& head);

}  // namespace lowrank::models
