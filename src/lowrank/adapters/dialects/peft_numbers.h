// A component's modules as PEFT's LoraConfig or LoKrConfig, which builds tensors and scales from one rank, one alpha and patterns: for
// PEFT folders and for diffusers' metadata.
#pragma once

#include <optional>
#include <span>

#include "lowrank/adapters/config.h"
#include "lowrank/adapters/dialects/record.h"

namespace lowrank::adapters {

/// "" or why one configuration cannot make PEFT build this module together with the component's others.
std::string peft_refusal(const ModuleRecord& module, std::span<const ModuleRecord> component);

/// Every key of the configuration for modules without refusals. The commonest rank and alpha are the defaults, others go to patterns.
/// Layers of text encoders are named without "text_model.", which not every transformers release has.
Json peft_config_of(std::span<const ModuleRecord> modules);

/// rank, alpha and rule of a module that was read together with `config`. Throws Error{file_format} when the rank is another than
/// the tensors'.
void set_peft_numbers(ModuleRecord& module, const AdapterConfig& config, std::string_view where);

/// The path as diffusers and transformers checkpoints have it: CLIP's with "text_model.".
std::string checkpoint_path(const std::string& component, const std::string& path);

/// Our tensor in PEFT's shape, and back: a magnitude is [O, 1, …] with us, [O] or [1, O, 1, 1] there.
at::Tensor peft_magnitude(const at::Tensor& ours);
at::Tensor magnitude_from_peft(const at::Tensor& theirs);

}  // namespace lowrank::adapters
