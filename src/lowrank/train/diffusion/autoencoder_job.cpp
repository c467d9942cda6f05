#include "lowrank/train/diffusion/autoencoder_job.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>
#include <cmath>

#include "lowrank/base/error.h"
#include "lowrank/diffusion/draws.h"
#include "lowrank/tensor/dtype.h"
#include "lowrank/tensor/runtime.h"
#include "lowrank/train/description.h"
#include "lowrank/train/diffusion/pixels.h"
#include "lowrank/train/diffusion/tensor_cache.h"
#include "lowrank/train/diffusion/trainee.h"

namespace lowrank::train {

namespace fs = std::filesystem;

namespace {

/// What one look at pictures gives, each [B].
struct Terms {
  at::Tensor reconstruction, squared, divergence;
};

/// noise: ε of the latents, or undefined for their mean.
Terms terms(models::AutoencoderKL& vae, const AutoencoderOptions& options, const at::Tensor& x, const at::Tensor& noise) {
  const at::ScalarType type = vae.parameters().front().scalar_type();
  const auto moments = vae.encode(x.to(type));
  const at::Tensor mean = moments.mean.to(at::kFloat), logvar = moments.logvar.to(at::kFloat);
  const at::Tensor latents = noise.defined() ? mean + (0.5 * logvar).exp() * noise : mean;
  const at::Tensor difference = vae.decode(latents.to(type)).to(at::kFloat) - x;
  const at::Tensor squared = difference.square().mean({1, 2, 3});
  const at::Tensor divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum({1, 2, 3});
  return {options.reconstruction == "l2" ? squared : difference.abs().mean({1, 2, 3}), squared,
          divergence * (options.kl_weight / static_cast<double>(x[0].numel()))};
}

}  // namespace

void declare(OptionTable& table, AutoencoderOptions& options) {
  data::declare(table, options.pictures);
  const auto add = [&table](const char* name, auto& target, const char* help) -> Option& {
    return table.add(name, target, help).group("Autoencoder");
  };
  add("reconstruction", options.reconstruction, "distance of a picture and what comes back").choices({"l1", "l2"});
  add("kl-weight", options.kl_weight, "pull of the latents towards N(0, 1)").range(0, 1);
  add("latent-scale", options.latent_scale, "the scaling factor: the model's, or 1/deviation of the latents after training")
      .choices({"keep", "measure"});
  add("validation-fraction", options.validation_fraction, "share of the pictures held out to validate on").range(0, 0.9);
}

AutoencoderJob::AutoencoderJob(const AutoencoderRequest& request)
    : request_(request),
      schedule_(*request.pictures, request.autoencoder.validation_fraction, request.options),
      pixels_(*request.pictures, request.autoencoder.pictures) {
  for (const auto& [name, given] :
       {std::pair{"--masks", request.autoencoder.pictures.masks}, {"--prior-images", request.autoencoder.pictures.prior_images}}) {
    check(given.empty(), ErrorKind::unsupported, name, "expected none, since an autoencoder learns whole pictures, got '{}'", given);
  }
  const auto device = tensor::parse_device(request.options.device);
  vae_ = models::load_pipeline(request.model, weights_dtype(request.options)).vae;
  vae_->to(device);
  fingerprint_ = weights_hash(*vae_);
  for (const auto& parameter : vae_->named_parameters())
    parameters_.push_back({"vae." + parameter.key(), parameter.value().requires_grad_(true)});
}

at::Tensor AutoencoderJob::pixels(std::span<const data::Draw> draws, int64_t epoch) {
  std::vector<at::Tensor> parts;
  for (const data::Draw& draw : draws) {
    const bool mirrored = request_.autoencoder.pictures.flip && data::is_mirrored(seed(), epoch, draw.item());
    parts.push_back(pixels_.at(draw.picture, mirrored));
  }
  return at::cat(parts).to(vae_->parameters().front().device());
}

at::Tensor AutoencoderJob::loss(const Pass& pass, int64_t step) {
  std::vector<data::Draw> draws;
  for (const int64_t item : pass.items) draws.push_back(draw_of(item));
  const at::Tensor x = pixels(draws, step / steps_per_epoch());
  const std::vector<int64_t> shape = {vae_->config().latents, x.size(2) / vae_->shrink(), x.size(3) / vae_->shrink()};
  const at::Tensor noise = diffusion::normal_noise(seed(), "latents", static_cast<uint64_t>(step), pass.items, shape).to(x.device());
  const Terms each = terms(*vae_, request_.autoencoder, x, noise);
  return (each.reconstruction + each.divergence).sum();
}

std::vector<Probe> AutoencoderJob::probes() {
  const auto [size, pictures] = schedule_.largest_pass();
  Probe probe{.rows = pictures, .units = [](int64_t rows) { return rows; }, .has_gradients = true};
  probe.run = [this, size = size](int64_t rows) {
    const auto device = vae_->parameters().front().device();
    const at::Tensor x = at::zeros({rows, 3, size.height, size.width}, at::device(device));
    const Terms each = terms(*vae_, request_.autoencoder, x, {});
    (each.reconstruction + each.divergence).sum().backward();
  };
  return {probe};
}

void AutoencoderJob::for_each_batch(const std::vector<int64_t>& pictures, const std::function<void(const at::Tensor& x)>& sink) const {
  std::map<data::Size, std::vector<int64_t>> buckets;
  for (const int64_t place : pictures) buckets[request_.pictures->entries[static_cast<size_t>(place)].placement.bucket].push_back(place);
  const auto batch = static_cast<size_t>(request_.options.batch_size);
  for (const auto& [size, places] : buckets) {
    for (size_t begin = 0; begin < places.size(); begin += batch) {
      std::vector<at::Tensor> parts;
      for (size_t i = begin; i < std::min(begin + batch, places.size()); ++i) parts.push_back(pixels_.at(places[i], /*mirrored=*/false));
      sink(at::cat(parts).to(vae_->parameters().front().device()));
    }
  }
}

double AutoencoderJob::latent_deviation() const {
  double sum = 0, squares = 0, count = 0;
  for_each_batch(schedule_.shown(), [&](const at::Tensor& x) {
    const auto moments = vae_->encode(x.to(vae_->parameters().front().scalar_type()));
    const at::Tensor mean = moments.mean.to(at::kDouble), variance = moments.logvar.to(at::kDouble).exp();
    sum += mean.sum().item<double>();
    squares += (mean.square() + variance).sum().item<double>();
    count += static_cast<double>(mean.numel());
  });
  return std::sqrt(squares / count - sum * sum / (count * count));
}

Validation AutoencoderJob::validate(const StopToken* stop, const ProgressSink& progress) {
  std::vector<at::Tensor> losses, errors;
  int64_t done = 0;
  const auto total = static_cast<int64_t>(schedule_.held_out().size());
  for_each_batch(schedule_.held_out(), [&](const at::Tensor& x) {
    if (stop != nullptr && stop->requested()) fail(ErrorKind::cancelled, "validate", "stopped by the user");
    const Terms each = terms(*vae_, request_.autoencoder, x, {});
    losses.push_back((each.reconstruction + each.divergence).to(at::kCPU, at::kDouble));
    errors.push_back(each.squared.to(at::kCPU, at::kDouble));
    done += x.size(0);
    if (progress) progress({"validate", done, total, "pictures", {}});
  });
  const at::Tensor loss = at::cat(losses);
  // Peak to peak the pictures span 2.
  const double psnr = (10 * (4 / at::cat(errors)).log10()).mean().item<double>();
  const Json error = total < 2 ? Json() : Json(loss.std().item<double>() / std::sqrt(static_cast<double>(total)));
  return {.loss = loss.mean().item<double>(), .figures = {{"standard_error", error}, {"psnr", psnr}}};
}

Json AutoencoderJob::identity() const {
  Json identity = resolved(request_.autoencoder);
  for (const char* key : {"images", "prior-images", "masks"}) identity.erase(key);
  identity["dtype"] = tensor::dtype_name(vae_->parameters().front().scalar_type());
  identity["method"] = "full";
  identity["model"] = fingerprint_;
  identity["data"] = request_.pictures->report.hash;
  return identity;
}

Json AutoencoderJob::describe(const Json& result) const {
  Json description = describe_run(request_, {"full", request_.model, fingerprint_, request_.pictures->report.hash},
                                  resolved(request_.autoencoder), result);
  description["kind"] = "autoencoder";
  return description;
}

fs::path AutoencoderJob::save(const fs::path& out, const Json& description) const {
  const at::NoGradGuard no_grad;
  Json noted = description;
  double factor = vae_->scaling_factor();
  if (request_.autoencoder.latent_scale == "measure") factor = 1 / latent_deviation();
  noted["result"]["scaling_factor"] = factor;
  const fs::path saved = save_trained_model(out, request_.model, parameters_,
                                            [factor](models::Pipeline& pipeline) { pipeline.vae->set_scaling_factor(factor); });
  write_file_atomic(out / "lowrank.json", format_json(noted));
  return saved;
}

}  // namespace lowrank::train
