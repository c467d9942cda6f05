#include "lowrank/train/loss.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/tensor.h>
#include <algorithm>

#include "lowrank/base/error.h"

namespace lowrank::train {

namespace {

constexpr double kRankingScale = 20.0;

at::Tensor targets_of(const data::Batch& batch, const at::Tensor& like) {
  return at::tensor(at::ArrayRef<float>(batch.targets)).to(like.device());
}

at::Tensor every_second(const at::Tensor& vectors, int64_t first) { return vectors.slice(0, first, std::nullopt, 2); }

/// Rows of mixed pictures count for both labels, by their shares.
at::Tensor class_sum(const at::Tensor& z, const data::Batch& batch, double smoothing) {
  const auto loss = [&](const std::vector<int64_t>& labels, int64_t reduction) {
    return at::cross_entropy_loss(z, at::tensor(at::ArrayRef<int64_t>(labels)).to(z.device()), {}, reduction, /*ignore_index=*/-100,
                                  smoothing);
  };
  if (batch.mixed_labels.empty()) return loss(batch.labels, at::Reduction::Sum);
  const at::Tensor shares = at::tensor(at::ArrayRef<float>(batch.mixed_shares)).to(z.device());
  return (loss(batch.labels, at::Reduction::None) * (1 - shares) + loss(batch.mixed_labels, at::Reduction::None) * shares).sum();
}

at::Tensor ranking_sum(const at::Tensor& vectors) {
  const at::Tensor scores = at::mm(every_second(vectors, 0), every_second(vectors, 1).t()) * kRankingScale;
  return at::cross_entropy_loss(scores, at::arange(scores.size(0), scores.options().dtype(at::kLong)), {}, at::Reduction::Sum);
}

}  // namespace

Objective::Objective(const data::Dataset& train, double label_smoothing)
    : task_(train.task), classes_(train.classes), smoothing_(label_smoothing) {
  check(smoothing_ == 0 || task_ == data::Task::single_label, ErrorKind::invalid_argument, "label-smoothing",
        "expected 0 for a task of {}, got {}: labels are smoothed where one of several is right", data::to_string(task_), smoothing_);
  ranking_ = task_ == data::Task::embedding &&
             std::all_of(train.examples.begin(), train.examples.end(), [](const data::Example& example) { return example.value == 1.0F; });
}

double Objective::weight(int64_t rows) const { return static_cast<double>(rows * (task_ == data::Task::multi_label ? classes_ : 1)); }

at::Tensor Objective::sum(const at::Tensor& outputs, const data::Batch& batch) const {
  const at::Tensor z = outputs.to(at::kFloat);
  switch (task_) {
    case data::Task::single_label: return class_sum(z, batch, smoothing_);
    case data::Task::multi_label:
      return at::binary_cross_entropy_with_logits(z, targets_of(batch, z).view(z.sizes()), {}, {}, at::Reduction::Sum);
    case data::Task::regression: return at::mse_loss(z.squeeze(1), targets_of(batch, z), at::Reduction::Sum);
    case data::Task::embedding:
      if (ranking_) return ranking_sum(z);
      return at::mse_loss(pair_similarities(z), targets_of(batch, z), at::Reduction::Sum);
  }
  fail(ErrorKind::internal, "loss", "expected one of four tasks");
}

at::Tensor pair_similarities(const at::Tensor& vectors) { return (every_second(vectors, 0) * every_second(vectors, 1)).sum(1); }

}  // namespace lowrank::train
