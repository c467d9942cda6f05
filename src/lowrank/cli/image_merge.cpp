#include "lowrank/cli/image_merge.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/sin.h>

#include "lowrank/base/error.h"
#include "lowrank/tensor/dtype.h"
#include "lowrank/tensor/runtime.h"

namespace lowrank::cli {

namespace {

namespace fs = std::filesystem;

/// Numbers that look like latents or text states, the same every time.
at::Tensor wave(at::IntArrayRef shape, const at::TensorOptions& options) {
  return at::sin(at::arange(c10::multiply_integers(shape), at::kFloat) * 0.7).reshape(shape).to(options);
}

/// What every text encoder and the UNet make of a small probe, one vector a component.
std::vector<at::Tensor> probe(const models::Pipeline& pipeline) {
  std::vector<at::Tensor> outputs;
  int64_t width = 0, pooled = 0;
  for (const auto& encoder : {pipeline.text_encoder, pipeline.text_encoder_2}) {
    if (!encoder) continue;
    const auto& config = encoder->config();
    const at::Tensor ids = at::arange(config.positions, at::kLong).remainder(config.vocabulary).unsqueeze(0);
    const at::Tensor on_device = ids.to(encoder->parameters().front().device());
    outputs.push_back(encoder->forward(on_device, /*skip=*/0, /*final_norm=*/true, /*pool=*/false).states.to(at::kFloat).flatten());
    width += config.width;
    pooled = config.projection;
  }
  const auto options = pipeline.unet->parameters().front().options();
  models::AddedConditions added;
  if (pipeline.is_xl()) added = {wave({1, pooled}, options), at::full({1, 6}, 64.0, options.dtype(at::kFloat))};
  const at::Tensor x = wave({1, pipeline.unet->config().in, 16, 16}, options), time = at::full({1}, 500.0, options.dtype(at::kFloat));
  outputs.push_back(pipeline.unet->forward(x, time, wave({1, 7, width}, options), added).to(at::kFloat).flatten());
  return outputs;
}

double difference(const std::vector<at::Tensor>& before, const std::vector<at::Tensor>& after) {
  double worst = 0;
  for (size_t i = 0; i < before.size(); ++i)
    worst = std::max(worst, ((after[i] - before[i]).abs().max() / before[i].abs().max()).item<double>());
  return worst;
}

}  // namespace

Json merge_image_model(const ImageModelOptions& options, const std::string& out) {
  tensor::initialise_runtime(options.threads);
  const auto dtype = options.dtype == "auto" ? stored_dtype(options.model) : tensor::parse_dtype(options.dtype);
  const ImageSession session = open_image_session(options, dtype);
  const at::NoGradGuard no_grad;
  const bool plain = options.adapters.empty();  // the model in another form or dtype
  const std::vector<at::Tensor> before = plain ? std::vector<at::Tensor>{} : probe(session.pipeline);
  const int64_t merged = generate::merge_adapters(session.pipeline, /*all=*/true);
  const double moved = plain ? 0 : difference(before, probe(session.pipeline));
  check(dtype != at::kFloat || moved < 1e-3, ErrorKind::internal, "merge",
        "the merged model's outputs differ by {:.1e} from the adapted model's", moved);
  make_folder(fs::absolute(out).parent_path());
  if (fs::path(out).extension() == ".safetensors") {
    models::save_checkpoint(out, session.pipeline);
  } else {
    models::save_diffusers(out, session.pipeline);
  }
  Json adapters = Json::array();
  for (const auto& one : session.adapters)
    adapters.push_back({{"file", one.use.path.string()},
                        {"weight", one.use.weight},
                        {"dialect", one.dialect},
                        {"layers", one.modules},
                        {"notes", one.notes}});
  return {{"saved", out},
          {"merged_layers", merged},
          {"relative_difference", moved},
          {"dtype", tensor::dtype_name(dtype)},
          {"adapters", adapters}};
}

}  // namespace lowrank::cli
