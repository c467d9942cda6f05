// Sampling with the full-size UNet of SD1.5, weights by formula: guided DDIM steps under given text states, for bench/sampling.py.
// lowrank_sampling OUT.safetensors SIDE float32|bfloat16 STEPS THREADS prints the seconds of all steps after one that warms up.
#include "lowrank/generate/sampling.h"

#include <ATen/ATen.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "support/fixed_model.h"

#include "lowrank/nn/new_weights.h"
#include "lowrank/tensor/dtype.h"
#include "lowrank/tensor/load.h"

int main(int argc, char** argv) {
  using namespace lowrank;
  if (argc != 6) return 2;
  const int64_t side = std::atoll(argv[2]), steps = std::atoll(argv[4]);
  at::set_num_threads(std::atoi(argv[5]));
  const at::NoGradGuard no_grad;
  models::Pipeline pipeline;
  {
    const nn::NewWeights weights{c10::TensorOptions().dtype(tensor::parse_dtype(argv[3]))};
    pipeline.unet = std::make_shared<models::UNet2DConditionModel>(models::pipeline_configs("sd15")["unet"], "sd15");
  }
  test::fill_fixed(*pipeline.unet);
  pipeline.scheduler = models::pipeline_configs("sd15")["scheduler"];
  const auto text = [](uint32_t salt) { return generate::TextConditions{test::fixed({1, 77, 768}, salt, 1.0, at::kFloat), {}}; };
  const generate::Conditions conditions{text(501), text(502)};
  const at::Tensor latents = test::fixed({1, 4, side, side}, 500, std::sqrt(3.0), at::kFloat);
  const std::vector<uint64_t> seeds{0};
  const auto run = [&](int64_t count) {
    return generate::denoise(pipeline, *generate::sampler_for(pipeline, {.sampler = "ddim", .steps = count}), conditions, 7.5, latents,
                             seeds);
  };
  run(1);
  const auto start = std::chrono::steady_clock::now();
  const at::Tensor out = run(steps);
  std::printf("%.3f\n", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  tensor::save_tensors(argv[1], {{"latents", out.contiguous()}}, {});
}
