#include "lowrank/evaluate/picture_features.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "support/expect_close.h"
#include "support/expect_error.h"
#include "support/fixed_model.h"

#include "lowrank/base/json.h"

namespace lowrank::evaluate {
namespace {

const std::filesystem::path kGolden = std::filesystem::path(LOWRANK_SOURCE_DIR) / "tests/golden";

at::Tensor pictures(int64_t count, int64_t side, uint32_t salt) {
  return (test::fixed({count, 3, side, side}, salt, 0.5, at::kFloat) + 0.5);
}

TEST(PictureFeatures, PixelDistanceByHand) {
  at::Tensor a = at::zeros({2, 3, 2, 2}), b = at::full({2, 3, 2, 2}, 0.5);
  b[1].fill_(0);
  b[1][0][0][0] = 1;  // one of twelve numbers
  const at::Tensor found = pixel_distances(a, b);
  EXPECT_NEAR(found[0].item<double>(), 0.5, 1e-6);
  EXPECT_NEAR(found[1].item<double>(), std::sqrt(1.0 / 12), 1e-6);
  EXPECT_LOWRANK_ERROR(pixel_distances(a, at::zeros({2, 3, 2, 4})), ErrorKind::shape, "pictures of one size");
}

TEST(PictureFeatures, LatentsAreTheScaledMeans) {
  auto vae = std::make_shared<models::AutoencoderKL>(read_json(kGolden / "diffusion/vae.json"), "vae");
  test::fill_fixed(*vae);
  const auto features = latent_features(vae);
  const at::Tensor two = pictures(2, 16, 3);
  const at::NoGradGuard no_grad;
  const at::Tensor expected = vae->encode(two * 2 - 1).mean.flatten(1) * vae->scaling_factor();
  const at::Tensor found = features->of(two);
  EXPECT_TRUE(test::close(found, expected, 1e-6));
  EXPECT_EQ(features->distances(found, found).abs().max().item<double>(), 0);
  const at::Tensor apart = features->distances(found.slice(0, 0, 1), found.slice(0, 1, 2));
  EXPECT_NEAR(apart.item<double>(), (expected[0] - expected[1]).square().mean().sqrt().item<double>(), 1e-6);
}

TEST(PictureFeatures, ClassTokensOfAVisionTransformer) {
  auto model = models::load_image_model(kGolden / "models/vit_bare", {});
  auto same = models::load_image_model(kGolden / "models/vit_bare", {});
  const auto [height, width] = model->image_size();
  const auto features = class_token_features(std::move(model), "vit_bare");
  const at::Tensor bytes = (test::fixed({2, height, width, 3}, 4, 127, at::kFloat) + 128).to(at::kByte);
  const at::Tensor found = features->of(bytes.permute({0, 3, 1, 2}).to(at::kFloat) / 255);
  const at::NoGradGuard no_grad;
  const at::Tensor expected = same->encode({models::normalise_pixels(bytes, same->processor()), {}}, true);
  EXPECT_TRUE(test::close(found, expected, 1e-6));
  EXPECT_LT(features->distances(found, 3 * found).abs().max().item<double>(), 1e-6);  // the angle alone counts
  EXPECT_NEAR(features->distances(found, -found)[0].item<double>(), 2, 1e-6);
  EXPECT_EQ(features->of(pictures(1, 3 * height, 5)).sizes(), (std::vector<int64_t>{1, found.size(1)}));  // scaled to the model's size
}

}  // namespace
}  // namespace lowrank::evaluate
