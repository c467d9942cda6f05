// Writes what tests/cli/sample_test.py works on: tiny_pipeline FOLDER makes FOLDER/{sd15,sdxl}, FOLDER/sd15.safetensors and
// FOLDER/{lora,dora,lokr,sdxl_lora}.safetensors.
#include <ATen/core/grad_mode.h>

#include "tiny.h"

int main(int argc, char** argv) {
  using namespace lowrank::generate;
  if (argc != 2) return 2;
  const at::NoGradGuard no_grad;
  const std::filesystem::path folder = argv[1];
  for (const char* kind : {"sd15", "sdxl"}) test::save_tiny_folder(folder / kind, kind);
  const auto sd15 = test::tiny_pipeline("sd15"), sdxl = test::tiny_pipeline("sdxl");
  lowrank::models::save_checkpoint(folder / "sd15.safetensors", sd15);
  for (const char* method : {"lora", "dora", "lokr"})
    test::save_tiny_adapter(folder / (std::string(method) + ".safetensors"), sd15, method, 40);
  test::save_tiny_adapter(folder / "sdxl_lora.safetensors", sdxl, "lora", 50);
  return 0;
}
