// The full-size UNet of SD1.5 with weights by formula: its prediction (for tools/check_full_unet.py), and the time of its forward
// and backward pass. lowrank_full_unet OUT.safetensors SIDE [float32|bfloat16] [steps] [contiguous|channels_last|recompute]
#include <ATen/ATen.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "support/fixed_model.h"

#include "lowrank/models/diffusion/pipeline.h"
#include "lowrank/nn/host.h"
#include "lowrank/nn/new_weights.h"
#include "lowrank/tensor/dtype.h"
#include "lowrank/tensor/load.h"

namespace lowrank::bench {

namespace {

void time_steps(models::UNet2DConditionModel& model, const at::Tensor& x, const at::Tensor& states, int steps) {
  // The gradient that an adapter in the first attention asks for: all above it is run backwards.
  for (const auto& [name, host] : nn::hosts_of(model)) {
    if (name == "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q") at::Tensor(host->weight()).set_requires_grad(true);
  }
  const auto now = [] { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); };
  for (int i = 0; i < steps; ++i) {
    const double start = now();
    const at::Tensor y = model.forward(x, at::full({1}, 500), states);
    const double forward = now();
    y.sum().backward();
    std::printf("step %d: forward %.3f s, backward %.3f s\n", i, forward - start, now() - forward);
  }
}

}  // namespace

}  // namespace lowrank::bench

int main(int argc, char** argv) {
  using namespace lowrank;
  const std::string out = argv[1];
  const int64_t side = std::atoll(argv[2]);
  const at::ScalarType dtype = tensor::parse_dtype(argc > 3 ? argv[3] : "float32");
  const int steps = argc > 4 ? std::atoi(argv[4]) : 0;
  at::set_num_threads(2);
  const nn::NewWeights weights{c10::TensorOptions().dtype(dtype)};
  const auto model = std::make_shared<models::UNet2DConditionModel>(models::pipeline_configs("sd15")["unet"], "sd15");
  test::fill_fixed(*model);
  const at::Tensor x = test::fixed({1, 4, side, side}, 500).to(dtype), states = test::fixed({1, 77, 768}, 501).to(dtype);
  {
    const at::NoGradGuard no_grad;
    tensor::save_tensors(out, {{"y", model->forward(x, at::full({1}, 500), states).contiguous()}}, {});
  }
  const std::string way = argc > 5 ? argv[5] : "contiguous";
  model->set_recompute(way == "recompute");
  bench::time_steps(*model, way == "channels_last" ? x.contiguous(at::MemoryFormat::ChannelsLast) : x, states, steps);
}
