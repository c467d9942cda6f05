// The options of a training run as the command line has them: model, data, method with its adapter options, training.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "lowrank/cli/command.h"
#include "lowrank/data/images/class_folders.h"
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

/// Adds the data options that `model`'s family has, of texts or of class folders, to `table`.
void declare_data(OptionTable& table, data::DataOptions& options, const std::string& model);

/// Tokenizes texts, or reads and scales pictures, as the model's family reads them, and checks the data.
data::Split prepare_data(const std::string& model, const data::DataOptions& options, const ProgressSink& progress);

/// What a model of pictures takes; none for one of texts.
std::optional<data::PictureShape> picture_shape(const std::string& model);

/// What `lowrank plan` prints of a plan and the report of its data (plan.cpp): exit status.
int print_plan(const Command& command, const train::MemoryPlan& plan, const Json& report, const std::string& report_text);

}  // namespace lowrank::cli
