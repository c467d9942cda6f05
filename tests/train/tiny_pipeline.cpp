// lowrank_tiny_pipeline FOLDER: a Stable Diffusion model in FOLDER/model with CLIP's tokenizer of tests/golden/text/clip_files, the same
// as FOLDER/model.safetensors, and captioned pictures in FOLDER/pictures and, others, in FOLDER/test; for tests that run the program.
#include "train/tiny_pipeline.h"

int main(int /*argc*/, char** argv) {
  using namespace lowrank;
  const std::filesystem::path folder = argv[1];
  const models::Pipeline pipeline = test::save_tiny_model(folder / "model", "sd15");
  models::save_checkpoint(folder / "model.safetensors", pipeline);
  test::write_tiny_pictures(folder / "pictures", 10);
  test::write_tiny_pictures(folder / "test", 4, 100);
}
