// Tiny pipelines and adapter files by formula, for the tests of sampling and merging.
#pragma once

#include <filesystem>
#include <fstream>

#include "support/fixed_model.h"

#include "lowrank/adapters/dialects/dialect.h"
#include "lowrank/adapters/dialects/peft_numbers.h"
#include "lowrank/base/json.h"
#include "lowrank/generate/adapted_pipeline.h"

namespace lowrank::generate::test {

namespace fs = std::filesystem;

inline fs::path golden(const std::string& name) { return fs::path(LOWRANK_SOURCE_DIR) / "tests/golden" / name; }
inline Json golden_json(const std::string& kind) { return read_python_json(golden("generate/" + kind + ".json")); }

/// As tools/golden/sampling.py builds it; kind "sd15" or "sdxl".
inline models::Pipeline tiny_pipeline(const std::string& kind) {
  Json configs = golden_json(kind).at("configs");
  configs["scheduler"] = golden_json(kind).at("cases").at(0).at("scheduler");
  models::Pipeline pipeline = models::make_pipeline(configs, kind, at::kFloat);
  lowrank::test::fill_fixed(*pipeline.vae);
  for (const auto& [name, module] : adaptable_components(pipeline)) lowrank::test::fill_fixed(*module);
  return pipeline;
}

/// A diffusers folder with its tokenizers.
inline void save_tiny_folder(const fs::path& folder, const std::string& kind) {
  models::Pipeline pipeline = tiny_pipeline(kind);
  models::save_diffusers(folder, pipeline);
  pipeline.model_index["tokenizer"] = {"transformers", "CLIPTokenizer"};
  fs::copy(golden("text/clip_files"), folder / "tokenizer");
  if (pipeline.is_xl()) {
    pipeline.model_index["tokenizer_2"] = {"transformers", "CLIPTokenizer"};
    fs::copy(golden("text/clip_files"), folder / "tokenizer_2");
  }
  std::ofstream(folder / "model_index.json") << pipeline.model_index.dump(1);
}

/// An adapter of `method` ("lora", "dora", "lokr") for every linear layer and 3×3 convolution of the UNet's attention and residual
/// blocks, and for the first text encoder's attention.
inline adapters::AdapterRecord tiny_adapter(const models::Pipeline& pipeline, const std::string& method, uint32_t salt) {
  adapters::AdapterRecord record;
  for (const auto& [component, module] : adaptable_components(pipeline)) {
    for (const auto& [path, host] : nn::hosts_of(*module)) {
      const bool wanted = path.ends_with("to_q") || path.ends_with("conv1") || path.ends_with("v_proj");
      if (!wanted) continue;
      const nn::HostShape shape = host->shape();
      adapters::ModuleRecord one{component, adapters::checkpoint_path(component, path), {}};
      const auto value = [&](at::IntArrayRef sizes) { return lowrank::test::fixed(sizes, salt++, 0.4, at::kFloat); };
      if (method == "lokr") {
        one.tensors["lokr_w1"] = value({2, 2});
        const int64_t channels = shape.channels() / 2;
        one.tensors["lokr_w2"] =
            shape.is_convolution() ? value({shape.out / 2, channels, shape.kernel[0], shape.kernel[1]}) : value({shape.out / 2, channels});
      } else {
        one.tensors["lora_A"] = value(shape.kernels(2, shape.channels()));
        one.tensors["lora_B"] = value(shape.pointwise(shape.out, 2));
        const at::Tensor norms = host->matrix().norm(2, {1}) * 1.2;
        if (method == "dora") one.tensors["lora_magnitude_vector"] = norms.reshape(shape.pointwise(shape.out, 1)).to(at::kFloat);
      }
      adapters::classify(one, "tiny");
      one.alpha = 1.5 * static_cast<double>(one.rank);
      if (one.rank == 0) one.rule = adapters::ScaleRule::one;
      record.modules.push_back(std::move(one));
    }
  }
  adapters::sort_modules(record);
  return record;
}

/// Written in the dialect that says it.
inline void save_tiny_adapter(const fs::path& file, const models::Pipeline& pipeline, const std::string& method, uint32_t salt) {
  const adapters::ModelLayout layout = layout_of(pipeline);
  adapters::AdapterRecord record = tiny_adapter(pipeline, method, salt);
  adapters::save_adapter(file, adapters::dialect_named(method == "lora" ? "kohya" : "lycoris"), record, {&layout, method});
}

}  // namespace lowrank::generate::test
