#include "job.h"

#include <numeric>

#include "lowrank/base/error.h"

namespace lowrank::bench {

Job read_job(const std::filesystem::path& path) {
  const Json json = read_json(path);
  Job job;
  for (const auto& [key, value] : json.items()) {
    if (key == "mode")
      job.mode = value;
    else if (key == "model")
      job.model = value.get<std::string>();
    else if (key == "adapter")
      job.adapter = value.get<std::string>();
    else if (key == "batches")
      job.batches = value.get<std::string>();
    else if (key == "gradients")
      job.gradients = value.get<std::string>();
    else if (key == "method")
      job.method = value;
    else if (key == "dtype")
      job.dtype = value;
    else if (key == "warmup")
      job.warmup = value;
    else if (key == "steps")
      job.steps = value;
    else if (key == "threads")
      job.threads = value;
    else if (key == "learning_rate")
      job.learning_rate = value;
    else if (key == "started")
      job.started = value;
    else if (key == "products")
      job.products = value.get<std::vector<std::vector<int64_t>>>();
    else
      fail(ErrorKind::file_format, path.string(), fmt::format("expected a key of bench/job.h, got '{}'", key));
  }
  return job;
}

data::Batch Workload::batch(int64_t step) const {
  const auto at = static_cast<size_t>(step % batches());
  std::vector<int64_t> rows(static_cast<size_t>(begins[at + 1] - begins[at]));
  std::iota(rows.begin(), rows.end(), begins[at]);
  return data::collate(split.train, rows);
}

Workload read_workload(const std::filesystem::path& path) {
  const Json json = read_json(path);
  Workload workload;
  data::Dataset& train = workload.split.train;
  train.classes = json.at("classes");
  for (int64_t c = 0; c < train.classes; ++c) workload.split.labels.names.push_back(fmt::format("label {}", c));
  for (const Json& batch : json.at("batches")) {
    for (size_t row = 0; row < batch.at("ids").size(); ++row) {
      data::Example example{.ids = batch.at("ids").at(row), .labels = {batch.at("labels").at(row).get<int64_t>()}, .id = train.size()};
      example.type_ids.assign(example.ids.size(), 0);
      train.examples.push_back(std::move(example));
    }
    workload.begins.push_back(train.size());
  }
  return workload;
}

}  // namespace lowrank::bench
