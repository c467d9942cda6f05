// Adapter files on a pipeline, whatever program wrote them: several at once, each with a weight, blocks with weights of their own.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "lowrank/adapters/dialects/layout.h"
#include "lowrank/models/diffusion/pipeline.h"

namespace lowrank::generate {

/// "style.safetensors" or "style.safetensors:0.8"; W becomes W + weight·(W' − W).
struct AdapterUse {
  std::filesystem::path path;
  double weight = 1.0;
  std::string name() const { return path.filename().empty() ? path.parent_path().filename().string() : path.stem().string(); }
};
/// Error{invalid_argument} for an empty path. What follows the last ':' is part of the path unless it is a number.
AdapterUse parse_adapter_use(const std::string& text);

/// A factor for the modules of a block: `block` is a component ("text_encoder") or a path below one ("unet.down_blocks.1"); the longest
/// that fits a module counts.
struct BlockWeight {
  std::string block;
  double weight = 1.0;
};
/// "unet.mid_block=0.5". Error{invalid_argument} for other text.
BlockWeight parse_block_weight(const std::string& text);

/// The pipeline's own layers, for files whose names have to be looked up.
adapters::ModelLayout layout_of(const models::Pipeline& pipeline);

struct AppliedAdapter {
  AdapterUse use;
  std::string dialect, family;     // "kohya"; "sd15", "sdxl" or "unknown"
  size_t modules = 0;              // attached
  std::vector<std::string> notes;  // what was assumed in reading
};

/// Attaches every file, in order, under the names "0", "1", …; differences of biases and norms are added to the parameters in place. Throws
/// what read_adapter throws; Error{shape} for a file that does not fit, saying which model it was made for; Error{file_format} naming
/// tensors that nobody knows; Error{invalid_argument} for a block that no adapted module lies in.
std::vector<AppliedAdapter> apply_adapters(const models::Pipeline& pipeline, std::span<const AdapterUse> uses,
                                           std::span<const BlockWeight> blocks = {});

/// Merges adapted layers so that no pass computes W' again and returns how many: all of them, or only those whose rank-space form would
/// cost a dense product (then plain LoRA keeps the digits that a narrow dtype would round away).
int64_t merge_adapters(const models::Pipeline& pipeline, bool all);

/// The components that adapters attach to, by name.
std::vector<std::pair<std::string, std::shared_ptr<torch::nn::Module>>> adaptable_components(const models::Pipeline& pipeline);

}  // namespace lowrank::generate
