// A model with what trains on it: its adapters, its head, or all of it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lowrank/adapters/attach.h"
#include "lowrank/data/batches.h"
#include "lowrank/models/text_model.h"
#include "lowrank/train/flat_parameters.h"
#include "lowrank/train/request.h"

namespace lowrank::train {

struct Trainee {
  std::string method;
  data::Task task;
  std::unique_ptr<models::Model> model;
  std::optional<adapters::AdapterSet> adapters;  // absent for none and full
  std::vector<Trainable> parameters;             // all that trains and that the outputs depend on
  models::Pooling pooling = models::Pooling::mean;

  /// Logits [B, C], or unit vectors [2B, D] for embedding.
  at::Tensor outputs(const models::Batch& batch) const;
  /// True when an adapter drops something in training, so that batches need row keys.
  bool has_dropout() const;
};

/// The learning rate of a method, none or full when the user names none.
double default_learning_rate(const std::string& method);

/// Loads the model, makes the head that the data asks for, attaches the adapters and gathers what trains. New tensors depend
/// on options.seed alone. Tensors that cannot influence the outputs are named in a warning and left as they are.
/// Throws Error{invalid_argument} when nothing would train (none, without a head).
Trainee make_trainee(const TrainRequest& request);

/// The head for the split's task and labels; none for embedding.
models::HeadOptions head_for(const data::Split& split, int64_t seed);

/// A key a token, from (seed, step, sample, position) alone; a key a picture.
nn::RowKeys row_keys(const data::Batch& batch, int64_t seed, int64_t step);

}  // namespace lowrank::train
