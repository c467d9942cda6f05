#include "lowrank/train/memory_plan.h"

#include <algorithm>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include "lowrank/base/error.h"
#include "lowrank/evaluate/forward.h"
#include "lowrank/tensor/runtime.h"
#include "lowrank/train/validation.h"

namespace lowrank::train {

namespace {

class AllocationMeter : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void* /*pointer*/, int64_t bytes, size_t /*allocated*/, size_t /*reserved*/, c10::Device /*device*/) override {
    live_ += bytes;
    peak_ = std::max(peak_, live_);
  }
  bool memoryProfilingEnabled() const override { return true; }
  int64_t peak() const { return peak_; }

 private:
  int64_t live_ = 0, peak_ = 0;
};

int64_t tokens_of(const data::Dataset& dataset, std::span<const int64_t> indices) {
  int64_t tokens = 0;
  for (const int64_t index : indices) tokens += dataset.examples[static_cast<size_t>(index)].length();
  return tokens;
}

/// The forward pass with most tokens, of all epochs.
std::vector<int64_t> largest_batch(const data::Dataset& train, const TrainOptions& options) {
  const data::Batcher batcher(train, {.batch_size = options.batch_size, .seed = static_cast<uint64_t>(options.seed)});
  std::vector<int64_t> largest;
  for (int64_t epoch = 0, most = 0; epoch < options.epochs; ++epoch) {
    const auto order = batcher.order(epoch);
    const std::span<const int64_t> all = order;
    for (size_t begin = 0; begin < all.size(); begin += static_cast<size_t>(options.batch_size)) {
      const auto batch = all.subspan(begin, std::min(static_cast<size_t>(options.batch_size), all.size() - begin));
      const int64_t tokens = tokens_of(train, batch);
      if (tokens <= most) continue;
      most = tokens;
      largest.assign(batch.begin(), batch.end());
    }
  }
  return largest;
}

/// A forward pass over `indices`, and the backward pass if gradients are on.
int64_t measured(const Trainee& trainee, const data::Dataset& dataset, std::span<const int64_t> indices) {
  const Objective objective(dataset);
  const data::Batch batch = data::collate(dataset, indices);
  return peak_allocation([&] {
    nn::Packed packed = evaluate::to_packed(batch, evaluate::device_of(*trainee.model));
    if (at::GradMode::is_enabled() && trainee.has_dropout()) packed.keys = row_keys(batch, /*seed=*/0, /*step=*/0);
    const at::Tensor loss = objective.sum(trainee.outputs(packed), batch);
    if (loss.requires_grad()) loss.backward();
  });
}

/// The peak of a batch `rows`, from those of an eighth and of a half of it.
int64_t extrapolated(const Trainee& trainee, const data::Dataset& dataset, std::span<const int64_t> rows) {
  measured(trainee, dataset, rows.first(1));  // makes the gradients, which belong to the optimiser's share
  const auto small = rows.first((rows.size() + 7) / 8), large = rows.first((rows.size() + 1) / 2);
  const auto x0 = static_cast<double>(tokens_of(dataset, small)), x1 = static_cast<double>(tokens_of(dataset, large));
  const auto y0 = static_cast<double>(measured(trainee, dataset, small)), y1 = static_cast<double>(measured(trainee, dataset, large));
  const double slope = x1 > x0 ? (y1 - y0) / (x1 - x0) : y1 / x1;
  return static_cast<int64_t>(y1 + slope * (static_cast<double>(tokens_of(dataset, rows)) - x1));
}

std::string megabytes(int64_t bytes) { return fmt::format("{} MB", (bytes + (1 << 20) - 1) >> 20); }

}  // namespace

int64_t peak_allocation(const std::function<void()>& work) {
  const auto meter = std::make_shared<AllocationMeter>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, meter);
  work();
  return meter->peak();
}

MemoryPlan plan_memory(const Trainee& trainee, const data::Split& split, const TrainOptions& options) {
  const bool frozen = trainee.method == "none";  // the encoder sees evaluation batches alone, once
  const auto batch = largest_batch(split.train, options);
  MemoryPlan plan{.batch_tokens = tokens_of(split.train, batch), .batch_rows = static_cast<int64_t>(batch.size())};
  if (!frozen) plan.activations = extrapolated(trainee, split.train, batch);
  const data::Dataset& evaluated = frozen ? split.train : split.validation;
  if (evaluated.size() > 0) {
    const at::NoGradGuard no_grad;
    const auto first = data::evaluation_batches(evaluated, kEvaluationTokens).front();  // the longest sequences
    plan.activations = std::max(plan.activations, extrapolated(trainee, evaluated, first));
  }
  if (frozen) plan.activations += 4 * trainee.model->width() * (split.train.size() + split.validation.size());
  for (const Trainable& parameter : trainee.parameters) {
    plan.optimiser += 4 * 4 * parameter.tensor.numel();
    parameter.tensor.mutable_grad() = at::Tensor();
  }
  plan.holes = plan.activations * 3 / 10;
  tensor::return_free_memory();
  plan.process = tensor::resident_bytes();
  return plan;
}

void keep_to(const MemoryPlan& plan) {
  if (tensor::resident_bytes() > plan.peak() - plan.holes) tensor::return_free_memory();
}

void require_memory(const MemoryPlan& plan, int64_t available, const TrainOptions& options) {
  const int64_t batch = plan.activations + plan.holes, needed = plan.optimiser + batch;
  if (needed <= available) return;
  const int64_t spare = available - plan.optimiser;
  const int64_t fitting = spare <= 0 ? 0 : plan.batch_rows * spare / std::max<int64_t>(1, batch);
  std::string hint = "train fewer modules or at a lower rank, or close other programs";
  if (fitting >= 1) {
    const int64_t accumulation = options.gradient_accumulation * ((options.batch_size + fitting - 1) / fitting);
    hint = fmt::format("--batch-size {} --gradient-accumulation {} trains the same and fits", fitting, accumulation);
  }
  fail(ErrorKind::out_of_memory, "memory plan",
       fmt::format("expected to need at most {} more, got {}: {} for gradients and optimiser, {} for a batch of {} tokens",
                   megabytes(available), megabytes(needed), megabytes(plan.optimiser), megabytes(batch), plan.batch_tokens),
       hint);
}

Json MemoryPlan::to_json() const {
  return {{"process", process}, {"optimiser", optimiser},       {"activations", activations}, {"holes", holes},
          {"peak", peak()},     {"batch_tokens", batch_tokens}, {"batch_rows", batch_rows}};
}

}  // namespace lowrank::train
