// lowrank_tiny_pipeline FOLDER: a Stable Diffusion model in FOLDER/model with CLIP's tokenizer of tests/golden/text/clip_files, the same
// as FOLDER/model.safetensors, and captioned pictures in FOLDER/pictures and, others, in FOLDER/test; for tests that run the program.
#include "train/tiny_pipeline.h"

int main(int /*argc*/, char** argv) {
  using namespace lowrank;
  namespace fs = std::filesystem;
  const fs::path folder = argv[1], tokenizer = fs::path(LOWRANK_SOURCE_DIR) / "tests/golden/text/clip_files";
  Json configs = test::tiny_pipeline_configs("sd15");
  configs["text_encoder"]["vocab_size"] = read_json(tokenizer / "vocab.json").size();
  configs["text_encoder"]["max_position_embeddings"] = 77;
  configs["text_encoder"]["eos_token_id"] = 2;  // the largest id, as Stable Diffusion 1.5 has it
  models::Pipeline pipeline = models::make_pipeline(configs, "tiny", at::kFloat);
  test::fill_fixed(*pipeline.unet);
  test::fill_fixed(*pipeline.vae);
  test::fill_fixed(*pipeline.text_encoder);
  models::save_diffusers(folder / "model", pipeline);
  models::save_checkpoint(folder / "model.safetensors", pipeline);
  fs::copy(tokenizer, folder / "model" / "tokenizer");
  test::write_tiny_pictures(folder / "pictures", 10);
  test::write_tiny_pictures(folder / "test", 4, 100);
}
