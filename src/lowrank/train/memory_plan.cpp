#include "lowrank/train/memory_plan.h"

#include <ATen/core/grad_mode.h>
#include <algorithm>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include "lowrank/base/error.h"
#include "lowrank/tensor/runtime.h"

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

/// The peak of a probe, from those of an eighth and of a half of its rows.
int64_t extrapolated(const Probe& probe) {
  const at::AutoGradMode gradients(probe.has_gradients);
  const auto measured = [&](int64_t rows) { return static_cast<double>(peak_allocation([&] { probe.run(rows); })); };
  measured(1);  // makes the gradients, which belong to the optimiser's share
  const int64_t small = (probe.rows + 7) / 8, large = (probe.rows + 1) / 2;
  const auto x0 = static_cast<double>(probe.units(small)), x1 = static_cast<double>(probe.units(large));
  const double y0 = measured(small), y1 = measured(large);
  const double slope = x1 > x0 ? (y1 - y0) / (x1 - x0) : y1 / x1;
  return static_cast<int64_t>(y1 + slope * (static_cast<double>(probe.units(probe.rows)) - x1));
}

std::string megabytes(int64_t bytes) { return fmt::format("{} MB", (bytes + (1 << 20) - 1) >> 20); }

}  // namespace

int64_t peak_allocation(const std::function<void()>& work) {
  const auto meter = std::make_shared<AllocationMeter>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, meter);
  work();
  return meter->peak();
}

MemoryPlan plan_memory(Job& job) {
  const std::vector<Probe> probes = job.probes();
  const Probe& batch = probes.front();
  MemoryPlan plan{.batch_units = batch.units(batch.rows), .batch_rows = batch.rows, .unit = job.unit()};
  for (const Probe& probe : probes) {
    if (probe.run) plan.activations = std::max(plan.activations, extrapolated(probe));
  }
  plan.activations += job.prepared_bytes();
  for (const Trainable& parameter : job.parameters()) {
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
       fmt::format("expected to need at most {} more, got {}: {} for gradients and optimiser, {} for a batch of {} {}",
                   megabytes(available), megabytes(needed), megabytes(plan.optimiser), megabytes(batch), plan.batch_units, plan.unit),
       hint);
}

Json MemoryPlan::to_json() const {
  return {{"process", process}, {"optimiser", optimiser},       {"activations", activations}, {"holes", holes},
          {"peak", peak()},     {"batch_" + unit, batch_units}, {"batch_rows", batch_rows}};
}

}  // namespace lowrank::train
