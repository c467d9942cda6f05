// An image model ready to be used: pipeline, adapters of any dialect with weights, device.
#pragma once

#include <c10/core/ScalarType.h>
#include <filesystem>
#include <string>
#include <vector>

#include "lowrank/base/options.h"
#include "lowrank/generate/adapted_pipeline.h"

namespace lowrank::cli {

struct ImageModelOptions {
  std::string model;
  std::vector<std::string> adapters;       // FILE or FILE:WEIGHT
  std::vector<std::string> block_weights;  // BLOCK=WEIGHT
  std::string device = "auto", dtype = "auto";
  int64_t threads = 0;
};

/// Adds the flags that name an image model and its adapters.
void declare(OptionTable& table, ImageModelOptions& options);

struct ImageSession {
  models::Pipeline pipeline;
  std::vector<generate::AppliedAdapter> adapters;
};

/// Loads in `dtype` and attaches. Error{io, invalid_argument} when there is no such model.
ImageSession open_image_session(const ImageModelOptions& options, c10::ScalarType dtype);

/// A diffusers folder, or an original checkpoint.
bool is_image_model(const std::string& model);
/// The dtype of the UNet's weights as they are stored.
c10::ScalarType stored_dtype(const std::string& model);
/// Makes a folder and those above it. Error{io} when that is not possible.
void make_folder(const std::filesystem::path& folder);
/// Adapters for people: "style.safetensors (kohya, sd15): 128 layers, weight 0.8".
std::string adapters_text(const ImageSession& session);

}  // namespace lowrank::cli
