// Training an image model's adapter, as the command line has it: model, pictures, method with its adapter options, training.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "lowrank/cli/command.h"
#include "lowrank/cli/terminal.h"
#include "lowrank/train/diffusion/request.h"
#include "lowrank/train/trainer.h"

namespace lowrank::cli {

/// True for a diffusers folder (model_index.json) and for a single file, which are trained on pictures.
bool is_image_pipeline(const std::string& model);

struct DiffusionRunOptions {
  std::string model, method = "lora", component = "unet", out, tokenizer;
  train::TrainOptions train;
  train::DiffusionTrainOptions diffusion;

  /// What suits some dozen pictures: small batches, many epochs.
  DiffusionRunOptions();
};

/// Flags of train and plan that are about pictures.
void describe_diffusion(Command& command);

struct PreparedDiffusion {
  train::DiffusionRequest request;
  data::ImageSet pictures, validation;  // what the request points to
};

/// The options of an adapter for an image model, from the flags; with default targets and a scale of 1 unless the user says otherwise.
adapters::AdapterConfig image_adapter(Command& command, const std::string& method);

/// Reads a folder of captioned pictures as training reads its own.
data::ImageSet read_pictures(data::ImageDataOptions options, const DiffusionRunOptions& run, const train::ClipTokens& tokens,
                             const ProgressSink& progress);
/// How the pictures of another folder are read: as those of training, without masks and prior pictures.
data::ImageDataOptions other_pictures(const DiffusionRunOptions& options, const std::string& folder);

/// Reads tokenizers and pictures; the request has no adapter yet.
std::unique_ptr<PreparedDiffusion> load_run(const DiffusionRunOptions& options, const ProgressSink& progress);

/// Reads file and flags, tokenizers and pictures.
std::unique_ptr<PreparedDiffusion> prepare_diffusion(Command& command, DiffusionRunOptions& options, const ProgressSink& progress);

/// The whole of `lowrank train` and `lowrank plan` for image models: exit status.
int train_diffusion(Command& command, bool resume);
int plan_diffusion(Command& command);

/// One line a validation, in the log and on the terminal.
train::MetricSink picture_validation_lines(ProgressLine& line);

/// Prints how a run ended: exit status. `samples`: the page of what was drawn on the way, if any.
int finish_picture_run(const Command& command, const train::RunResult& result, const std::filesystem::path& samples = {});

}  // namespace lowrank::cli
