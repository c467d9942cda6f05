// Names of original checkpoints against diffusers' own conversion (tools/golden/diffusion_models.py).
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>

#include "lowrank/io/names/ldm.h"

namespace lowrank::io {

/// The golden's spelling: a third of a fused tensor is "name[row]".
std::string text_of(const LdmTensor& tensor) {
  const int third = static_cast<int>(tensor.part) - static_cast<int>(LdmPart::first_third);
  return third < 0 ? tensor.name : tensor.name + "[" + std::to_string(third) + "]";
}

TEST(LdmNames, EqualDiffusersConversionBothWays) {
  const LdmUNet unet{.layers = 1, .up_attends = {true, true, false}};
  std::ifstream golden(std::string(LOWRANK_SOURCE_DIR) + "/tests/golden/diffusion/ldm_tiny.txt");
  std::string model, ours, theirs;
  int lines = 0;
  while (golden >> model >> ours >> theirs) {
    ++lines;
    if (model == "unet") {
      EXPECT_EQ(ldm_unet_name(ours, unet), theirs);
      EXPECT_EQ(diffusers_unet_name(theirs, unet), ours);
    } else {
      EXPECT_EQ(text_of(model == "vae" ? ldm_vae_name(ours, 2) : open_clip_name(ours)), theirs);
    }
  }
  EXPECT_EQ(lines, 571);
}

TEST(LdmNames, MapModulesAsWell) {
  const LdmUNet sd15{.layers = 2, .up_attends = {false, true, true, true}};
  for (const auto& [ours, theirs] :
       {std::pair{"down_blocks.1.attentions.0", "input_blocks.4.1"},
        {"down_blocks.2.resnets.1.conv_shortcut", "input_blocks.8.0.skip_connection"},
        {"down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"},
        {"up_blocks.0.upsamplers.0.conv", "output_blocks.2.1.conv"},
        {"up_blocks.1.upsamplers.0.conv", "output_blocks.5.2.conv"},
        {"mid_block.attentions.0", "middle_block.1"},
        {"mid_block.resnets.1", "middle_block.2"},
        {"up_blocks.3.attentions.2.transformer_blocks.0.attn2.to_k", "output_blocks.11.1.transformer_blocks.0.attn2.to_k"},
        {"conv_in", "input_blocks.0.0"}}) {
    EXPECT_EQ(ldm_unet_name(ours, sd15), theirs);
    EXPECT_EQ(diffusers_unet_name(theirs, sd15), ours);
  }
}

TEST(LdmNames, TellHowBlocksAreNumbered) {
  const std::vector<std::string> ours = {"conv_in",
                                         "down_blocks.0.resnets.0.norm1",
                                         "down_blocks.1.resnets.2.norm1",
                                         "up_blocks.0.resnets.5.norm1",
                                         "up_blocks.2.attentions.0.norm",
                                         "mid_block.resnets.1.norm1"};
  EXPECT_EQ(ldm_numbering(ours).layers, 3);
  EXPECT_EQ(ldm_numbering(ours).up_attends, (std::vector{false, false, true}));
  const auto layers = [](const std::vector<std::string>& names) { return original_numbering(names).layers; };
  EXPECT_EQ(layers({"input_blocks.0.0.weight", "input_blocks.8.0.op.weight", "input_blocks.4.0.op.weight"}), 3);
  EXPECT_EQ(layers({"input_blocks.0.0.weight", "input_blocks.2.0.in_layers.0.weight"}), 2);  // one level: nothing shrinks
}

TEST(LdmNames, KnowNoOtherNames) {
  const LdmUNet unet{.layers = 1, .up_attends = {true, false}};
  for (const char* name :
       {"", "conv_inner", "down_blocks", "down_blocks.x.resnets.0.norm1", "down_blocks.0.resnets.0.norm3", "up_blocks.2.resnets.0.norm1",
        "mid_block.resnets.2.norm1", "mid_block.attentions.1", "down_blocks.0.upsamplers.0.conv"}) {
    EXPECT_EQ(ldm_unet_name(name, unet), "") << name;
  }
  for (const char* name : {"", "input_blocks", "input_blocks.1", "input_blocks.1.3.norm", "input_blocks.1.0.in_layers.1",
                           "middle_block.3.norm", "output_blocks.-1.0"}) {
    EXPECT_EQ(diffusers_unet_name(name, unet), "") << name;
  }
  EXPECT_EQ(ldm_vae_name("discriminator.conv", 2).name, "");
  EXPECT_EQ(open_clip_name("vision_model.conv").name, "");
}

}  // namespace lowrank::io
