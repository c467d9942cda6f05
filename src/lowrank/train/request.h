// A training run of an encoder, as a program or a study asks for it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "lowrank/adapters/config.h"
#include "lowrank/data/dataset.h"
#include "lowrank/train/run_request.h"

namespace lowrank::train {

struct TrainRequest : RunRequest {
  std::filesystem::path model;                     // a Hugging Face folder
  const data::Split* split = nullptr;              // must outlive the run
  std::string method = "lora";                     // a method of adapters.def; none: the head alone; full: everything
  std::optional<adapters::AdapterConfig> adapter;  // of `method`; its default configuration when absent
};

}  // namespace lowrank::train
