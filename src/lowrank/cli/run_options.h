// The options of a training run as the command line has them: model, data, method with its adapter options, training.
#pragma once

#include <memory>
#include <string>

#include "lowrank/cli/command.h"
#include "lowrank/data/dataset.h"
#include "lowrank/text/tokenizer.h"
#include "lowrank/train/memory_plan.h"
#include "lowrank/train/request.h"

namespace lowrank::cli {

struct RunOptions {
  std::string model, method = "lora", out;
  data::DataOptions data;
  train::TrainOptions train;
};

/// Flags of train and plan, those of every method included.
void describe_run(Command& command, RunOptions& options);

/// Reads file and flags, and builds the request (without its split). Method options apply to their own method only.
train::TrainRequest make_request(Command& command, RunOptions& options);

struct PreparedData {
  text::Tokenizer tokenizer;
  data::Split split;
};

/// Tokenizes and checks the data. The tokenizer's and the model's limits bound max-length.
PreparedData prepare_data(const std::string& model, data::DataOptions& options, const ProgressSink& progress);

/// What `lowrank plan` prints of a plan and the report of its data (plan.cpp): exit status.
int print_plan(const Command& command, const train::MemoryPlan& plan, const Json& report, const std::string& report_text);

}  // namespace lowrank::cli
