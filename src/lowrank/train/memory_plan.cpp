#include "lowrank/train/memory_plan.h"

#include <ATen/core/grad_mode.h>
#include <algorithm>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include "lowrank/base/error.h"
#include "lowrank/tensor/memory.h"

namespace lowrank::train {

namespace {

class AllocationMeter : public c10::MemoryReportingInfoBase {
 public:
  explicit AllocationMeter(c10::Device device) : device_(device) {}
  void reportMemoryUsage(void* /*pointer*/, int64_t bytes, size_t /*allocated*/, size_t /*reserved*/, c10::Device device) override {
    if (device.type() != device_.type()) return;
    live_ += bytes;
    peak_ = std::max(peak_, live_);
  }
  bool memoryProfilingEnabled() const override { return true; }
  int64_t peak() const { return peak_; }

 private:
  c10::Device device_;
  int64_t live_ = 0, peak_ = 0;
};

/// The peak of a probe, from those of an eighth and of a half of its rows.
int64_t extrapolated(const Probe& probe, c10::Device device) {
  const at::AutoGradMode gradients(probe.has_gradients);
  const auto measured = [&](int64_t rows) { return static_cast<double>(peak_allocation(device, [&] { probe.run(rows); })); };
  if (probe.rows == 1 && !probe.has_gradients) return static_cast<int64_t>(measured(1));
  measured(1);  // makes the gradients, which belong to the optimiser's share
  const int64_t small = (probe.rows + 7) / 8, large = (probe.rows + 1) / 2;
  const auto x0 = static_cast<double>(probe.units(small)), x1 = static_cast<double>(probe.units(large));
  const double y0 = measured(small), y1 = measured(large);
  const double slope = x1 > x0 ? (y1 - y0) / (x1 - x0) : y1 / x1;
  return static_cast<int64_t>(y1 + slope * (static_cast<double>(probe.units(probe.rows)) - x1));
}

int64_t holes_of(int64_t activations) { return activations * 3 / 10; }

std::string megabytes(int64_t bytes) { return fmt::format("{} MB", (bytes + (1 << 20) - 1) >> 20); }

}  // namespace

int64_t peak_allocation(c10::Device device, const std::function<void()>& work) {
  const auto meter = std::make_shared<AllocationMeter>(device);
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, meter);
  work();
  return meter->peak();
}

MemoryPlan plan_memory(Job& job) {
  const std::vector<Probe> probes = job.probes();
  const Probe& batch = probes.front();
  const std::vector<Trainable> parameters = job.parameters();
  MemoryPlan plan{.device = parameters.empty() ? c10::Device(c10::kCPU) : parameters.front().tensor.device(),
                  .batch_units = batch.units(batch.rows),
                  .batch_rows = batch.rows,
                  .unit = job.unit()};
  for (const Probe& probe : probes) {
    const int64_t kept = probe.is_preparation ? 0 : job.prepared_bytes();
    plan.phases.push_back({probe.phase, probe.released, kept + (probe.run ? extrapolated(probe, plan.device) : 0), probe.remedy});
  }
  std::ranges::stable_sort(plan.phases, std::greater(), [&](const MemoryPhase& phase) { return plan.peak_of(phase); });
  plan.activations = plan.phases.front().activations;
  plan.released = plan.phases.front().released;
  for (const Trainable& parameter : parameters) {
    const auto size = static_cast<int64_t>(parameter.tensor.element_size());
    plan.optimiser += (4 * 4 + (size < 4 ? 4 + size : 0)) * parameter.tensor.numel();  // narrow: its original and its own gradient too
    parameter.tensor.mutable_grad() = at::Tensor();
  }
  plan.holes = holes_of(plan.activations);
  tensor::return_free_memory();
  plan.process = tensor::used_bytes(plan.device);
  return plan;
}

void keep_to(const MemoryPlan& plan) {
  if (plan.device.is_cpu() && tensor::used_bytes(plan.device) > plan.peak() - plan.holes) tensor::return_free_memory();
}

void require_memory(const MemoryPlan& plan, int64_t available, const TrainOptions& options) {
  const int64_t batch = plan.activations + plan.holes, needed = plan.peak() - plan.process;
  if (needed <= available) return;
  const bool is_batch = plan.phases.empty() || plan.phases.front().remedy.empty();
  const int64_t spare = available + plan.released - plan.optimiser;
  const int64_t fitting = spare <= 0 ? 0 : plan.batch_rows * spare / std::max<int64_t>(1, batch);
  std::string hint = "train fewer modules or at a lower rank, or close other programs";
  if (!is_batch) {
    hint = plan.phases.front().remedy;
  } else if (fitting >= 1) {
    const int64_t accumulation = options.gradient_accumulation * ((options.batch_size + fitting - 1) / fitting);
    hint = fmt::format("--batch-size {} --gradient-accumulation {} trains the same and fits", fitting, accumulation);
  }
  fail(ErrorKind::out_of_memory, "memory plan",
       fmt::format("expected to need at most {} more, got {}: {} for gradients and optimiser, {} for {}{}", megabytes(available),
                   megabytes(needed), megabytes(plan.optimiser), megabytes(batch),
                   is_batch ? fmt::format("a batch of {} {}", plan.batch_units, plan.unit) : plan.phases.front().name,
                   plan.released > 0 ? fmt::format(", after {} were let go of", megabytes(plan.released)) : ""),
       hint);
}

int64_t MemoryPlan::peak_of(const MemoryPhase& phase) const {
  return process + optimiser + std::max<int64_t>(0, phase.activations + holes_of(phase.activations) - phase.released);
}

Json MemoryPlan::to_json() const {
  Json by_phase = Json::object();
  for (const MemoryPhase& phase : phases) by_phase[phase.name] = peak_of(phase);
  return {{"process", process},           {"optimiser", optimiser},   {"activations", activations}, {"holes", holes},    {"peak", peak()},
          {"batch_" + unit, batch_units}, {"batch_rows", batch_rows}, {"released", released},       {"phases", by_phase}};
}

}  // namespace lowrank::train
