// A pipeline with what trains on it.
#pragma once

#include <functional>

#include "lowrank/adapters/attach.h"
#include "lowrank/adapters/dialects/dialect.h"
#include "lowrank/models/diffusion/pipeline.h"
#include "lowrank/train/diffusion/request.h"
#include "lowrank/train/flat_parameters.h"

namespace lowrank::train {

struct DiffusionTrainee {
  std::string method;
  models::Pipeline pipeline;
  /// Adapters by component: "unet", "text_encoder", "text_encoder_2". Empty for full.
  std::vector<std::pair<std::string, adapters::AdapterSet>> adapters;
  std::vector<Trainable> parameters;
  std::string unet_fingerprint;
  adapters::ModelLayout layout;  // names and sizes of the pipeline's layers

  bool has_dropout() const;
  /// The adapters as they are now, under the names of `request`'s files.
  adapters::AdapterRecord record() const;
};

/// Loads the pipeline to the request's device, attaches the adapters and gathers what trains; new tensors depend on options.seed alone.
/// Error{unsupported} when the naming that the request wants has no words for the method.
DiffusionTrainee make_trainee(const DiffusionRequest& request);

/// What weights are held in: options.dtype, or what products are fastest in on options.device.
at::ScalarType weights_dtype(const TrainOptions& options);

/// The learning rate of a method, or of full, when the user names none: a fifth of what encoders take; 1e-5.
double default_diffusion_rate(const std::string& method);

/// The naming for --save-as: auto is kohya for LoRA, LyCORIS for the others.
const adapters::Dialect& dialect_for(const DiffusionRequest& request);

/// Writes below `out` and returns the path: adapter.safetensors (PEFT: adapter/), or for full model/ or model.safetensors as the base
/// was. The adapter is read back and ΔW of every layer compared before it takes its place. `description` becomes lowrank.json.
std::filesystem::path save_result(const std::filesystem::path& out, const DiffusionRequest& request, const DiffusionTrainee& trainee,
                                  const Json& description);

/// Writes the whole model below `out` in float32, model/ or model.safetensors as `base` is, and returns the path: `base` with the tensors
/// of `trained` ("vae.encoder.…") in place of its own, so that what was frozen is written as it was read, whatever dtype it was
/// used in. `change`, if any, is made last.
std::filesystem::path save_trained_model(const std::filesystem::path& out, const std::filesystem::path& base,
                                         const std::vector<Trainable>& trained, const std::function<void(models::Pipeline&)>& change);

/// ss_* of kohya's training record, from the run.
io::Metadata training_metadata(const DiffusionRequest& request, const Json& result);

}  // namespace lowrank::train
