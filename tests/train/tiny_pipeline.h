// A Stable Diffusion model of some thousand parameters with weights by formula, pictures for it, and a tokenizer of letters.
#pragma once

#include <filesystem>
#include <string>

#include "support/fixed_model.h"

#include "lowrank/base/file.h"
#include "lowrank/base/random.h"
#include "lowrank/data/images/picture.h"
#include "lowrank/models/diffusion/pipeline.h"
#include "lowrank/train/diffusion/text_states.h"

namespace lowrank::test {

/// Configurations of tests/golden/diffusion, the autoencoder's with the UNet's four latent channels.
inline Json tiny_pipeline_configs(const std::string& kind) {
  const auto golden = [](const std::string& name) {
    return read_json(std::filesystem::path(LOWRANK_SOURCE_DIR) / "tests/golden/diffusion" / name);
  };
  Json configs = models::pipeline_configs(kind);
  configs["unet"] = golden("unet_" + kind + ".json");
  configs["vae"] = golden("vae.json");
  configs["vae"]["latent_channels"] = 4;
  configs["text_encoder"] = golden("clip.json");
  if (kind == "sdxl") {
    configs["text_encoder_2"] = golden("clip_projection.json");
    configs["unet"]["cross_attention_dim"] = 24;  // both encoders' states
  }
  return configs;
}

inline models::Pipeline tiny_pipeline(const std::string& kind, const Json& configs) {
  models::Pipeline pipeline = models::make_pipeline(configs, kind, at::kFloat);
  fill_fixed(*pipeline.unet);
  fill_fixed(*pipeline.vae);
  fill_fixed(*pipeline.text_encoder);
  if (pipeline.is_xl()) fill_fixed(*pipeline.text_encoder_2);
  return pipeline;
}

inline models::Pipeline tiny_pipeline(const std::string& kind) { return tiny_pipeline(kind, tiny_pipeline_configs(kind)); }

/// A folder with text encoders for the words of tests/golden/text/clip_files, which is its tokenizer.
inline models::Pipeline save_tiny_model(const std::filesystem::path& folder, const std::string& kind) {
  const auto tokenizer = std::filesystem::path(LOWRANK_SOURCE_DIR) / "tests/golden/text/clip_files";
  Json configs = tiny_pipeline_configs(kind);
  for (const char* encoder : {"text_encoder", "text_encoder_2"}) {
    if (!configs.contains(encoder)) continue;
    configs[encoder]["vocab_size"] = read_json(tokenizer / "vocab.json").size();
    configs[encoder]["max_position_embeddings"] = 77;
    configs[encoder]["eos_token_id"] = 2;  // the largest id, as Stable Diffusion 1.5 has it
  }
  models::Pipeline pipeline = tiny_pipeline(kind, configs);
  models::save_diffusers(folder, pipeline);
  std::filesystem::copy(tokenizer, folder / "tokenizer");
  return pipeline;
}

inline train::ClipTokens letter_tokens() {
  return {.encode =
              [](const std::string& text) {
                std::vector<int64_t> ids;
                for (const char letter : text) ids.push_back(static_cast<unsigned char>(letter) % 36);
                return ids;
              },
          .begin = 38,
          .end = 39,
          .padding = 39};
}

/// A disc of one colour on another; `number` says which, where and how large.
inline data::Picture tiny_picture(data::Size size, uint64_t number) {
  RandomStream draw(9, "picture", 0, number);
  data::Picture picture{.size = size};
  const auto color = [&draw] {
    return data::Color{static_cast<uint8_t>(draw.below(256)), static_cast<uint8_t>(draw.below(256)), static_cast<uint8_t>(draw.below(256))};
  };
  const data::Color disc = color(), ground = color();
  const double x0 = draw.uniform() * static_cast<double>(size.width), y0 = draw.uniform() * static_cast<double>(size.height);
  for (int64_t y = 0; y < size.height; ++y) {
    for (int64_t x = 0; x < size.width; ++x) {
      const double dx = static_cast<double>(x) - x0, dy = static_cast<double>(y) - y0;
      for (const uint8_t value : dx* dx + dy * dy < 30 ? disc : ground) picture.rgb.push_back(value);
    }
  }
  return picture;
}

/// `count` captioned pictures, every fourth of them wide.
inline void write_tiny_pictures(const std::filesystem::path& folder, int64_t count, uint64_t first = 0) {
  std::filesystem::create_directories(folder);
  for (int64_t i = 0; i < count; ++i) {
    const data::Size size = i % 4 == 3 ? data::Size{24, 16} : data::Size{16, 16};
    data::write_png(folder / fmt::format("p{}.png", i), tiny_picture(size, first + static_cast<uint64_t>(i)));
    write_file_atomic(folder / fmt::format("p{}.txt", i), fmt::format("disc {}", i));
  }
}

inline data::ImageDataOptions tiny_picture_options(const std::filesystem::path& folder) {
  data::ImageDataOptions options{.images = folder.string(), .resolution = "16"};
  options.bucket_min = 8;
  options.bucket_max = 32;
  options.bucket_step = 8;
  return options;
}

}  // namespace lowrank::test
