// A1111's parameters, PNG text chunks and grids.
#include "lowrank/generate/infotext.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/temp_dir.h"

#include "lowrank/base/file.h"
#include "lowrank/base/hash.h"
#include "lowrank/data/images/grid.h"
#include "lowrank/data/images/png_text.h"
#include "lowrank/tensor/load.h"

namespace lowrank::generate {
namespace {

TEST(Infotext, IsWhatA1111Reads) {
  Infotext info{.prompt = "a pumpkin, orange",
                .negative = "dark",
                .steps = 20,
                .width = 512,
                .height = 768,
                .clip_skip = 1,
                .sampler = a1111_sampler("euler_ancestral"),
                .karras = false,
                .cfg = 7.5,
                .seed = 12,
                .model = "base",
                .model_hash = "0123456789",
                .adapters = {{"x/style.safetensors", 0.8}, {"ink.safetensors", 1}},
                .adapter_hashes = {"aaaaaaaaaaaa", "bbbbbbbbbbbb"},
                .version = "1.2"};
  EXPECT_EQ(to_string(info),
            "a pumpkin, orange <lora:style:0.8> <lora:ink:1>\nNegative prompt: dark\n"
            "Steps: 20, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7.5, Seed: 12, Size: 512x768, Model hash: 0123456789, "
            "Model: base, Clip skip: 2, Lora hashes: \"style: aaaaaaaaaaaa, ink: bbbbbbbbbbbb\", Version: lowrank 1.2");
  info.adapters.clear(), info.negative.clear(), info.clip_skip = 0, info.model = "a: b", info.karras = true, info.training_step = 0;
  EXPECT_EQ(to_string(info),
            "a pumpkin, orange\nSteps: 20, Sampler: Euler a, Schedule type: Karras, CFG scale: 7.5, Seed: 12, Size: 512x768, "
            "Model hash: 0123456789, Model: \"a: b\", Training step: 0, Version: lowrank 1.2");
}

TEST(Hashes, AreA1111s) {
  const test::TempDir folder;
  const auto file = folder / "a.safetensors";
  tensor::save_tensors(file, {{"x", at::ones({2})}}, {{"note", "n"}});
  const std::string bytes = read_file(file);
  EXPECT_EQ(model_hash(file), sha256_hex(bytes).substr(0, 10));
  EXPECT_EQ(adapter_hash(file), sha256_hex(bytes.substr(bytes.size() - 8)).substr(0, 12));
  tensor::save_tensors(file, {{"x", at::ones({2})}}, {{"sshs_model_hash", std::string(64, 'e')}});
  EXPECT_EQ(adapter_hash(file), std::string(12, 'e'));
}

TEST(PngText, IsAChunkBehindTheHeader) {
  const data::Picture picture{{2, 1}, {1, 2, 3, 4, 5, 6}, {}, {}};
  const std::string png = data::encode_png(picture);
  // Check sums by Python's zlib.crc32 of type and data.
  const std::string plain = data::with_png_text(png, "parameters", "a b"), wide = data::with_png_text(png, "k", "ü");
  EXPECT_EQ(plain.substr(33, 4 + 4 + 14 + 4), std::string("\0\0\0\x0etEXtparameters\0a b\x1f\xb4\x0f\x85", 26));
  EXPECT_EQ(wide.substr(33, 4 + 4 + 8 + 4), std::string("\0\0\0\x08iTXtk\0\0\0\0\0\xc3\xbc\xae\x44\xad\xf2", 20));
  EXPECT_EQ(plain.substr(0, 33) + plain.substr(33 + 26), png);
  const auto bytes = std::as_bytes(std::span(plain));
  EXPECT_EQ(data::decode_picture(bytes, "plain", {}).rgb, picture.rgb);
  EXPECT_LOWRANK_ERROR(data::with_png_text("GIF89a", "k", "v"), ErrorKind::internal, "expected a PNG");
}

TEST(Grid, PutsPicturesInTheMiddleOfTheirCells) {
  const data::Picture wide{{2, 1}, {1, 1, 1, 2, 2, 2}, {}, {}}, high{{1, 3}, {3, 3, 3, 4, 4, 4, 5, 5, 5}, {}, {}};
  const data::Picture grid = data::picture_grid(std::vector{wide, high, wide}, 2, 1);
  EXPECT_EQ(grid.size, (data::Size{2 * 3 + 1, 2 * 4 + 1}));
  const auto at = [&](int64_t x, int64_t y) { return static_cast<int>(grid.rgb[static_cast<size_t>(3 * (y * grid.size.width + x))]); };
  EXPECT_EQ((std::vector{at(1, 2), at(2, 2), at(4, 1), at(4, 2), at(4, 3), at(1, 6), at(2, 6), at(0, 0), at(1, 1), at(4, 6)}),
            (std::vector{1, 2, 3, 4, 5, 1, 2, 40, 40, 40}));
  EXPECT_LOWRANK_ERROR(data::picture_grid(std::vector{wide}, 1, 0, {1, 1}), ErrorKind::invalid_argument, "at most 1x1, got 2x1");
}

}  // namespace
}  // namespace lowrank::generate
