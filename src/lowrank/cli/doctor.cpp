// lowrank doctor: one page on this machine, ending in what to do.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <torch/version.h>

#include "lowrank/base/error.h"
#include "lowrank/cli/command.h"
#include "lowrank/cli/terminal.h"
#include "lowrank/tensor/memory.h"
#include "lowrank/tensor/runtime.h"

namespace lowrank::cli {

namespace {

/// Best of five products [1024, 768]·[768, 768] in GFLOP/s, about what a layer of a small encoder does.
double matrix_rate(at::ScalarType dtype, c10::Device device) {
  const at::NoGradGuard no_grad;
  const at::Tensor a = at::randn({1024, 768}, at::TensorOptions(device)).to(dtype),
                   b = at::randn({768, 768}, at::TensorOptions(device)).to(dtype);
  double best = 0;
  for (int i = 0; i < 6; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const at::Tensor c = at::mm(a, b);
    c.sum().item<float>();  // waits for a device that works on its own
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (i > 0) best = std::max(best, 2.0 * 1024 * 768 * 768 / seconds / 1e9);
  }
  return best;
}

Json examine() {
  Json facts = Json::object();
  facts["machine"] = tensor::machine_description();
  facts["libtorch"] = TORCH_VERSION;
  facts["threads"] = at::get_num_threads();
  facts["memory_available_bytes"] = tensor::available_bytes(at::kCPU);
  facts["disk_free_bytes"] = static_cast<int64_t>(std::filesystem::space(".").available);
  facts["float32_gflops"] = matrix_rate(at::kFloat, at::kCPU);
  // Without instructions for it a bfloat16 product is emulated, a hundred times slower: not worth the wait.
  const bool has_bfloat16 = tensor::prefers_bfloat16(at::kCPU);
  facts["bfloat16_gflops"] = has_bfloat16 ? Json(matrix_rate(at::kBFloat16, at::kCPU)) : Json();
  facts["cuda_devices"] = at::hasCUDA() ? static_cast<int64_t>(at::detail::getCUDAHooks().deviceCount()) : 0;
  if (at::hasCUDA()) {
    facts["cuda_memory_available_bytes"] = tensor::available_bytes(at::kCUDA);
    facts["cuda_bfloat16_gflops"] = matrix_rate(at::kBFloat16, at::kCUDA);
  }
  return facts;
}

double rate_or_zero(const Json& rate) { return rate.is_null() ? 0.0 : rate.get<double>(); }

std::vector<std::string> advice(const Json& facts) {
  std::vector<std::string> lines;
  const double float32 = facts["float32_gflops"].get<double>(), bfloat16 = rate_or_zero(facts["bfloat16_gflops"]);
  if (facts["cuda_devices"].get<int64_t>() > 0) lines.emplace_back("A GPU is present: --device cuda (chosen by default).");
  if (bfloat16 > 1.2 * float32) {
    lines.push_back(fmt::format("bfloat16 products are {:.1f} times as fast as float32 here: --dtype bfloat16.", bfloat16 / float32));
  } else {
    lines.emplace_back("bfloat16 gains nothing here: keep --dtype float32.");
  }
  if (facts["memory_available_bytes"].get<int64_t>() < int64_t{2} << 30) {
    lines.emplace_back("Under 2 GiB of memory is free: close other programs, or use a small --batch-size (lowrank plan says which).");
  }
  if (facts["disk_free_bytes"].get<int64_t>() < int64_t{1} << 30)
    lines.emplace_back("Under 1 GiB of disk is free here: write --out elsewhere.");
  return lines;
}

int run(bool json, int64_t threads) {
  tensor::initialise_runtime(threads);
  Json facts = examine();
  const auto lines = advice(facts);
  if (json) {
    facts["advice"] = lines;
    std::cout << format_json(facts);
    return 0;
  }
  const auto row = [](std::string_view name, const std::string& value) { std::cout << fmt::format("  {:<18}{}\n", name, value); };
  std::cout << "This machine\n";
  row("processor", facts["machine"].get<std::string>());
  row("libtorch", facts["libtorch"].get<std::string>());
  row("memory available", bytes_text(facts["memory_available_bytes"].get<int64_t>()));
  row("disk free here", bytes_text(facts["disk_free_bytes"].get<int64_t>()));
  row("float32 products", fmt::format("{:.0f} GFLOP/s", facts["float32_gflops"].get<double>()));
  const double bfloat16 = rate_or_zero(facts["bfloat16_gflops"]);
  row("bfloat16 products", bfloat16 > 0 ? fmt::format("{:.0f} GFLOP/s", bfloat16) : "no instructions for them");
  row("GPUs", facts["cuda_devices"].get<int64_t>() == 0 ? "none found by libtorch" : std::to_string(facts["cuda_devices"].get<int64_t>()));
  if (facts.contains("cuda_memory_available_bytes")) {
    row("GPU memory free", bytes_text(facts["cuda_memory_available_bytes"].get<int64_t>()));
    row("GPU bfloat16", fmt::format("{:.0f} GFLOP/s", facts["cuda_bfloat16_gflops"].get<double>()));
  }
  std::cout << "What to do\n";
  for (const auto& line : lines) std::cout << "  " << line << "\n";
  return 0;
}

struct DoctorOptions {
  int64_t threads = 0;
};

}  // namespace

void add_doctor(CLI::App& app) {
  struct State {
    DoctorOptions options;
    OptionTable table;
  };
  auto state = std::make_shared<State>();
  auto command = std::make_shared<Command>(app, "doctor", "check processor, libtorch, threads, memory, GPU", "lowrank doctor");
  state->table.add("threads", state->options.threads, "processor threads, 0: all").range(0, 1024);
  command->describe(state->table);
  command->on_run([command, state] {
    command->apply(state->table);
    command->finish("doctor");
    return run(command->json(), state->options.threads);
  });
}

}  // namespace lowrank::cli
