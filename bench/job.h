// What one benchmark process is to do: one JSON file that our program and the peer's both read. run.py writes it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "lowrank/data/batches.h"
#include "lowrank/train/request.h"

namespace lowrank::bench {

struct Job {
  std::string mode;  // write, time, parity, profile or ceiling
  std::filesystem::path model, adapter, batches, gradients;
  std::string method, dtype = "float32";  // of the frozen weights and products
  int64_t warmup = 0, steps = 0, threads = 2;
  double learning_rate = 0, started = 0;       // `started`: when the process began, on the monotonic clock
  std::vector<std::vector<int64_t>> products;  // ceiling: rows, in, out of each matrix product
};

/// Throws Error{file_format} for a key that nobody reads.
Job read_job(const std::filesystem::path& path);

/// {"classes": C, "batches": [{"ids": [[…], …], "labels": […]}, …]} as training rows, batch after batch, and the rows at
/// which each batch begins, one more than there are batches.
struct Workload {
  data::Split split;
  std::vector<int64_t> begins = {0};

  int64_t batches() const { return static_cast<int64_t>(begins.size()) - 1; }
  /// Batch `step`, and from the first again after the last.
  data::Batch batch(int64_t step) const;
};
Workload read_workload(const std::filesystem::path& path);

}  // namespace lowrank::bench
