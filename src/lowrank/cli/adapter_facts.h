// What `inspect` and `convert` say about an adapter file in any dialect.
#pragma once

#include "lowrank/adapters/dialects/dialect.h"

namespace lowrank::cli {

/// dialect, model family, counts of components, methods, ranks, alphas and scales, ‖ΔW‖ of every block, metadata that people look
/// for, notes, and what would not load.
Json adapter_facts(const adapters::ReadAdapter& adapter);

/// "LoRA": 12, …
Json methods_of(const adapters::AdapterRecord& record);

/// The blocks of adapter_facts() as bars.
std::string block_chart(const Json& blocks);

/// "Stable Diffusion 1.5 (its layers' names and sizes)", "names of SDXL, other sizes", "unknown".
std::string family_text(const adapters::AdapterRecord& record);

}  // namespace lowrank::cli
