// Names that kohya's scripts and LyCORIS share: "<prefix>_<path with . as _>.<leaf>".
#pragma once

#include "lowrank/adapters/dialects/dialect.h"

namespace lowrank::adapters {

/// True for "lora_unet_…", "lora_te…_…" and "lycoris_…".
bool has_joined_name(std::string_view key);
/// The part after the first dot.
std::string_view leaf_of(std::string_view key);

/// Reads every tensor; names that the table or the leaves do not know go to `unknown`.
AdapterRecord read_joined(StoredPart part, const ReadContext& context);

/// Tensors under these names: the UNet of SDXL by its sgm names, any other by diffusers'; alpha as float32, so that alpha/rank is the
/// scale also for rsLoRA.
tensor::TensorMap joined_tensors(const AdapterRecord& record, const WriteContext& context);

}  // namespace lowrank::adapters
