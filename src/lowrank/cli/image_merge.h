// Adapters folded into an image model: what `lowrank merge` does with a pipeline.
#pragma once

#include "lowrank/base/json.h"
#include "lowrank/cli/image_session.h"

namespace lowrank::cli {

/// Writes `out`: a checkpoint when it ends in .safetensors, else a diffusers folder. The outputs of every component on a probe are compared
/// before and after; Error{internal} when float32 weights differ by 1e-3. Returns "saved", "merged_layers", "relative_difference",
/// "dtype", "adapters".
Json merge_image_model(const ImageModelOptions& options, const std::string& out);

}  // namespace lowrank::cli
