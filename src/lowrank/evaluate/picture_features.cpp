#include "lowrank/evaluate/picture_features.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>
#include <fmt/format.h>

#include "lowrank/base/error.h"
#include "lowrank/data/images/resample.h"
#include "lowrank/tensor/load.h"

namespace lowrank::evaluate {

namespace {

void check_pictures(const at::Tensor& pictures, const char* where) {
  check(pictures.dim() == 4 && pictures.size(1) == 3, ErrorKind::shape, where, "expected pictures [B, 3, H, W], got {}",
        tensor::shape_text(pictures.sizes()));
}

at::Tensor root_mean_square(const at::Tensor& a, const at::Tensor& b) { return (a - b).square().flatten(1).mean(1).sqrt(); }

class LatentFeatures : public PictureFeatures {
 public:
  explicit LatentFeatures(std::shared_ptr<models::AutoencoderKL> vae) : vae_(std::move(vae)) {}

  at::Tensor of(const at::Tensor& pictures) override {
    check_pictures(pictures, "latent features");
    const at::NoGradGuard no_grad;
    const auto like = vae_->parameters().front().options();
    return (vae_->encode((pictures * 2 - 1).to(like)).mean.to(at::kCPU, at::kFloat) * vae_->scaling_factor()).flatten(1);
  }

  at::Tensor distances(const at::Tensor& a, const at::Tensor& b) const override { return root_mean_square(a, b); }

  std::string explanation() const override {
    return "the root mean square difference of the latents that the base model's own autoencoder makes of the two pictures (means, scaled)";
  }

 private:
  std::shared_ptr<models::AutoencoderKL> vae_;
};

class ClassTokenFeatures : public PictureFeatures {
 public:
  ClassTokenFeatures(std::unique_ptr<models::ImageModel> model, std::string name) : model_(std::move(model)), name_(std::move(name)) {}

  at::Tensor of(const at::Tensor& pictures) override {
    check_pictures(pictures, "class token features");
    const at::NoGradGuard no_grad;
    const auto [height, width] = model_->image_size();
    const at::Tensor bytes = (pictures * 255).round().clamp(0, 255).to(at::kByte).permute({0, 2, 3, 1}).contiguous();
    std::vector<at::Tensor> scaled;
    for (const at::Tensor& one : bytes.unbind()) scaled.push_back(fit(one, {width, height}));
    const auto device = model_->parameters().front().device();
    const nn::Pictures batch{models::normalise_pixels(at::stack(scaled).to(device), model_->processor()), {}};
    return model_->encode(batch, /*first_token_only=*/true).to(at::kCPU, at::kFloat);
  }

  at::Tensor distances(const at::Tensor& a, const at::Tensor& b) const override {
    return 1 - (a * b).sum(1) / (a.norm(2, {1}) * b.norm(2, {1}));
  }

  std::string explanation() const override {
    return fmt::format("one minus the cosine of the class token's last states that the vision transformer {} has of the two pictures",
                       name_);
  }

 private:
  static at::Tensor fit(const at::Tensor& picture, data::Size size) {
    const data::Size from{picture.size(1), picture.size(0)};
    if (from == size) return picture;
    const auto* values = picture.const_data_ptr<uint8_t>();
    const auto samples = data::resample({values, values + picture.numel()}, from, size, 3, data::choose_filter(from, size));
    at::Tensor out = at::empty({size.height, size.width, 3}, at::kByte);
    std::copy(samples.begin(), samples.end(), out.mutable_data_ptr<uint8_t>());
    return out;
  }

  std::unique_ptr<models::ImageModel> model_;
  std::string name_;
};

}  // namespace

at::Tensor pixel_distances(const at::Tensor& a, const at::Tensor& b) {
  check_pictures(a, "pixel distance");
  check(a.sizes() == b.sizes(), ErrorKind::shape, "pixel distance", "expected pictures of one size, got {} and {}",
        tensor::shape_text(a.sizes()), tensor::shape_text(b.sizes()));
  return root_mean_square(a.to(at::kCPU, at::kFloat), b.to(at::kCPU, at::kFloat));
}

std::unique_ptr<PictureFeatures> latent_features(std::shared_ptr<models::AutoencoderKL> vae) {
  return std::make_unique<LatentFeatures>(std::move(vae));
}

std::unique_ptr<PictureFeatures> class_token_features(std::unique_ptr<models::ImageModel> model, const std::string& name) {
  return std::make_unique<ClassTokenFeatures>(std::move(model), name);
}

}  // namespace lowrank::evaluate
