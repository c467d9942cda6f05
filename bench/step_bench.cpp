// Training steps as the trainer takes them, one at a time and timed: lowrank_step_bench JOB.json prints one JSON line.
#include <ATen/Parallel.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros_like.h>
#include <chrono>
#include <cstdio>

#include "job.h"
#include "operator_times.h"

#include "lowrank/adapters/dialects/peft.h"
#include "lowrank/base/error.h"
#include "lowrank/data/batches.h"
#include "lowrank/evaluate/forward.h"
#include "lowrank/tensor/dtype.h"
#include "lowrank/tensor/load.h"
#include "lowrank/tensor/memory.h"
#include "lowrank/tensor/random.h"
#include "lowrank/tensor/runtime.h"
#include "lowrank/train/adamw.h"
#include "lowrank/train/encoder_job.h"
#include "lowrank/train/memory_plan.h"
#include "lowrank/train/save.h"

namespace lowrank::bench {

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

train::TrainRequest request_for(const Job& job, const Workload& workload) {
  train::TrainRequest request{.model = job.model, .split = &workload.split, .method = job.method};
  request.options.batch_size = workload.begins[1];
  request.options.dtype = job.dtype;
  request.options.device = "cpu";
  if (job.mode != "write") request.adapter = adapters::read_peft(job.adapter).config;
  return request;
}

/// Replaces what trains by what the folder holds.
void read_adapter(const Job& job, train::Trainee& trainee) {
  const at::NoGradGuard no_grad;
  const auto folder = adapters::read_peft(job.adapter);
  for (auto& parameter : trainee.parameters) {
    const auto found = folder.tensors.find(parameter.name);
    check(found != folder.tensors.end(), ErrorKind::file_format, job.adapter.string(), "expected a tensor '{}', got none", parameter.name);
    parameter.tensor.copy_(found->second);
  }
}

/// A fresh adapter with noise on every tensor, so that none of them hides behind another's zeros.
void write_adapter(const Job& job, const Workload& workload) {
  const auto request = request_for(job, workload);
  const train::Trainee trainee = train::make_trainee(request);
  const at::NoGradGuard no_grad;
  for (const auto& parameter : trainee.parameters) {
    at::Tensor noise = at::zeros_like(parameter.tensor), value = parameter.tensor;
    tensor::fill_normal_(noise, 0, 0.02, RandomStream(1, "bench:" + parameter.name));
    value.add_(noise);
  }
  train::save_result(job.adapter.parent_path(), job.model, trainee, train::describe(request, trainee, Json::object()));
}

class Steps {
 public:
  explicit Steps(const Job& job)
      : job_(job), workload_(read_workload(job.batches)), request_(request_for(job, workload_)), training_(request_) {
    read_adapter(job, training_.trainee());
    plan_ = train::plan_memory(training_);
    parameters_.emplace(training_.parameters());
    optimizer_.emplace(*parameters_, train::AdamWOptions{});
  }

  Json time() {
    std::vector<double> seconds, losses;
    std::vector<int64_t> tokens;
    double first = 0;
    for (int64_t i = 0; i < job_.warmup + job_.steps; ++i) {
      const double begin = now();
      const auto batch = workload_.batch(i);
      losses.push_back(step(batch));
      if (i == 0) first = now();
      if (i < job_.warmup) continue;
      seconds.push_back(now() - begin);
      tokens.push_back(batch.tokens());
    }
    return {{"first_step", first - job_.started},
            {"seconds", seconds},
            {"tokens", tokens},
            {"losses", losses},
            {"plan", plan_.to_json()},
            {"plan_bytes", plan_.peak()},
            {"peak_bytes", tensor::peak_bytes(at::kCPU)},
            {"trained", parameters_->count()}};
  }

  Json parity() {
    backward(workload_.batch(0));
    tensor::TensorMap gradients;
    for (const auto& entry : parameters_->entries()) gradients[entry.name] = entry.gradient.clone();
    tensor::save_tensors(job_.gradients, gradients, {});
    parameters_->gradients().zero_();
    return time();
  }

  Json profile() {
    for (int64_t i = 0; i < job_.warmup; ++i) step(workload_.batch(i));
    OperatorTimes times(/*rank=*/request_.adapter->rank);
    const double begin = now();
    for (int64_t i = 0; i < job_.steps; ++i) step(workload_.batch(i), &times);
    Json json = times.to_json();
    json["seconds"] = now() - begin;
    json["steps"] = job_.steps;
    return json;
  }

 private:
  double backward(const data::Batch& batch) {
    const auto packed = evaluate::to_packed(batch, c10::kCPU);
    const auto& objective = training_.objective();
    const at::Tensor loss = objective.sum(training_.trainee().outputs(packed), batch) / objective.weight(batch.size());
    loss.backward();
    parameters_->gather();
    return loss.item<double>();
  }

  double step(const data::Batch& batch, OperatorTimes* times = nullptr) {
    const double loss = backward(batch);
    if (times != nullptr) times->in_optimiser(true);
    optimizer_->step(job_.learning_rate, train::clip_factor(train::length(parameters_->gradients()), request_.options.max_grad_norm));
    if (times != nullptr) times->in_optimiser(false);
    return loss;
  }

  const Job& job_;
  Workload workload_;
  train::TrainRequest request_;
  train::EncoderJob training_;
  train::MemoryPlan plan_;
  std::optional<train::FlatParameters> parameters_;
  std::optional<train::AdamW> optimizer_;
};

/// The best rate of each product x·Wᵀ in the job's dtype in FLOP/s, over job.steps runs.
Json ceiling(const Job& job) {
  const at::NoGradGuard no_grad;
  Json rates = Json::array();
  for (const auto& product : job.products) {
    const auto dtype = tensor::parse_dtype(job.dtype);
    const at::Tensor x = at::randn({product[0], product[1]}).to(dtype), w = at::randn({product[2], product[1]}).to(dtype);
    double best = 1e9;
    for (int64_t i = 0; i < job.warmup + job.steps; ++i) {
      const double begin = now();
      at::mm(x, w.t());
      best = std::min(best, now() - begin);
    }
    rates.push_back(2.0 * static_cast<double>(product[0] * product[1] * product[2]) / best);
  }
  return {{"rates", rates}, {"machine", tensor::machine_description()}};
}

Json run(const Job& job) {
  tensor::initialise_runtime(job.threads);
  if (job.mode == "ceiling") return ceiling(job);
  if (job.mode == "write") {
    write_adapter(job, read_workload(job.batches));
    return {{"written", job.adapter.string()}};
  }
  Steps steps(job);
  if (job.mode == "time") return steps.time();
  if (job.mode == "parity") return steps.parity();
  if (job.mode == "profile") return steps.profile();
  fail(ErrorKind::invalid_argument, "bench", fmt::format("expected mode write, time, parity, profile or ceiling, got '{}'", job.mode));
}

}  // namespace

}  // namespace lowrank::bench

int main(int count, char** arguments) {
  try {
    lowrank::check(count == 2, lowrank::ErrorKind::invalid_argument, "bench", "expected one job file, got {} arguments", count - 1);
    std::printf("%s\n", lowrank::format_json_line(lowrank::bench::run(lowrank::bench::read_job(arguments[1]))).c_str());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
