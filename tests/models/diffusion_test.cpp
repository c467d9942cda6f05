// UNet, autoencoder and text encoders against diffusers and transformers: outputs and every gradient, on tiny models.
#include <torch/csrc/autograd/autograd.h>

#include "models/diffusion_support.h"
#include "support/expect_error.h"

#include "lowrank/base/hash.h"
#include "lowrank/io/names/ldm.h"
#include "lowrank/models/diffusion/pipeline.h"
#include "lowrank/nn/host.h"
#include "lowrank/nn/new_weights.h"

namespace lowrank::models {

template <class Model, class... Args>
std::shared_ptr<Model> tiny(const std::string& name, Args... args) {
  const auto model = std::make_shared<Model>(read_json(diffusion_golden(name + ".json")), name, args...);
  fill_fixed(*model);
  model->to(test::test_device());
  return model;
}

class TinyUNet : public ::testing::TestWithParam<const char*> {
 protected:
  tensor::TensorMap golden_ = test::load_golden(diffusion_golden(GetParam() + std::string(".safetensors")));
  std::shared_ptr<UNet2DConditionModel> model_ = tiny<UNet2DConditionModel>(GetParam());
  at::Tensor x_ = golden_.at("x").clone().set_requires_grad(true), states_ = golden_.at("states").clone().set_requires_grad(true);

  AddedConditions added(int64_t pictures = 2) const {
    if (!golden_.contains("text")) return {};
    return {golden_.at("text").slice(0, 0, pictures), golden_.at("time_ids").slice(0, 0, pictures)};
  }
  at::Tensor run() { return model_->forward(x_, golden_.at("times"), states_, added()); }
  void compare_gradients() {
    EXPECT_LT(difference(x_.grad(), golden_.at("grad_x")), 1e-5);
    EXPECT_LT(difference(states_.grad(), golden_.at("grad_states")), 1e-5);
    RecordProperty("worst_gradient", fmt::format("{:.2e}", worst_gradient(*model_, golden_)));
  }
};

TEST_P(TinyUNet, PredictionAndEveryGradientEqualDiffusers) {
  const at::Tensor y = run();
  const double worst = difference(y, golden_.at("y"));
  RecordProperty("worst", fmt::format("{:.2e}", worst));
  EXPECT_LT(worst, 1e-5);
  fixed_loss({y}).backward();
  compare_gradients();
}

TEST_P(TinyUNet, RecomputedLayersGiveTheSameGradients) {
  fixed_loss({run()}).backward();
  std::vector<at::Tensor> kept{x_.grad().clone(), states_.grad().clone()};
  for (auto& parameter : model_->parameters()) kept.push_back(parameter.grad().clone());
  x_.mutable_grad() = states_.mutable_grad() = at::Tensor();
  model_->zero_grad();
  model_->set_recompute(true);
  fixed_loss({run()}).backward();
  std::vector<at::Tensor> again{x_.grad(), states_.grad()};
  for (const auto& parameter : model_->parameters()) again.push_back(parameter.grad());
  ASSERT_EQ(kept.size(), again.size());
  // Not to the bit: gradients that several layers add to are summed in another order.
  for (size_t i = 0; i < kept.size(); ++i) EXPECT_LT(difference(again[i], kept[i]), 1e-5) << i;
}

TEST_P(TinyUNet, RecomputesWhenOnlyInnerParametersTrain) {
  model_->set_recompute(true);
  for (auto& parameter : model_->parameters()) parameter.set_requires_grad(false);
  const auto hosts = nn::hosts_of(*model_);
  at::Tensor weight = hosts[hosts.size() / 2].second->weight();
  weight.set_requires_grad(true);
  const at::Tensor y = model_->forward(golden_.at("x"), golden_.at("times"), golden_.at("states"), added());
  fixed_loss({y}).backward();
  const at::Tensor flat = weight.grad().flatten(), expected = golden_.at("grad." + hosts[hosts.size() / 2].first + ".weight");
  EXPECT_NEAR(flat.norm().item<double>(), expected[0].item<double>(), 1e-5 * expected[0].item<double>());
}

TEST_P(TinyUNet, TakesSizesThatTheHalvingsDoNotDivide) {
  const at::NoGradGuard no_grad;
  const at::Tensor x = test::fixed({1, 4, 10, 6}, 503).to(at::kFloat);
  EXPECT_LT(difference(model_->forward(x, at::full({1}, 500), golden_.at("states").slice(0, 0, 1), added(1)), golden_.at("odd_y")), 1e-5);
}

TEST_P(TinyUNet, RunsInNarrowTypes) {
  const at::NoGradGuard no_grad;
  model_->to(at::kBFloat16);
  const auto narrow = [](const at::Tensor& t) { return t.to(at::kBFloat16); };
  const AddedConditions more = added();
  const at::Tensor y = model_->forward(narrow(golden_.at("x")), golden_.at("times"), narrow(golden_.at("states")), more);
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  EXPECT_LT(difference(y, golden_.at("y")), 0.1);  // observed 0.03
}

TEST_P(TinyUNet, EveryLayerWithAMatrixIsAHost) {
  size_t hosted = 0, matrices = 0;
  for (const auto& [name, host] : nn::hosts_of(*model_)) hosted += host->weight().defined() ? 1 : 0;
  for (const auto& parameter : model_->parameters()) matrices += parameter.dim() > 1 ? 1 : 0;
  EXPECT_EQ(hosted, matrices);
}

TEST_P(TinyUNet, RefusesInputsThatDoNotFit) {
  const at::Tensor &x = golden_.at("x"), &states = golden_.at("states"), &times = golden_.at("times");
  EXPECT_LOWRANK_ERROR(model_->forward(x.slice(1, 0, 3), times, states, added()), ErrorKind::shape,
                       "latents: expected [B, 4, height, width]");
  EXPECT_LOWRANK_ERROR(model_->forward(x, at::zeros({3}), states, added()), ErrorKind::shape, "times: expected [2] or [1], got [3]");
  EXPECT_LOWRANK_ERROR(model_->forward(x, times, states.slice(2, 0, 4), added()), ErrorKind::shape, "text states: expected [2, S, ");
  const AddedConditions other =
      model_->config().added_width > 0 ? AddedConditions{} : AddedConditions{at::zeros({2, 3}), at::zeros({2, 6})};
  EXPECT_LOWRANK_ERROR(model_->forward(x, times, states, other), ErrorKind::invalid_argument, "pooled text and");
}

INSTANTIATE_TEST_SUITE_P(Kinds, TinyUNet, ::testing::Values("unet_sd15", "unet_sdxl"), [](const auto& i) { return std::string(i.param); });

TEST(TinyVae, EncodesAndDecodesAsDiffusersWithEveryGradient) {
  const auto golden = test::load_golden(diffusion_golden("vae.safetensors"));
  const auto model = tiny<AutoencoderKL>("vae");
  const at::Tensor pictures = golden.at("pictures").clone().set_requires_grad(true),
                   latents = golden.at("latents").clone().set_requires_grad(true);
  const LatentMoments moments = model->encode(pictures);
  const at::Tensor decoded = model->decode(latents);
  EXPECT_LT(difference(moments.mean, golden.at("mean")), 1e-5);
  EXPECT_LT(difference(moments.logvar, golden.at("logvar")), 1e-5);
  EXPECT_LT(difference(decoded, golden.at("decoded")), 1e-5);
  fixed_loss({moments.mean, moments.logvar, decoded}).backward();
  EXPECT_LT(difference(pictures.grad(), golden.at("grad_pictures")), 1e-5);
  EXPECT_LT(difference(latents.grad(), golden.at("grad_latents")), 1e-5);
  worst_gradient(*model, golden);
  EXPECT_DOUBLE_EQ(model->scaling_factor(), 0.13);
  EXPECT_LOWRANK_ERROR(model->encode(pictures.slice(2, 0, 15)), ErrorKind::shape, "multiples of 2, got [2, 3, 15, 8]");
}

class TinyClip : public ::testing::TestWithParam<const char*> {};

TEST_P(TinyClip, StatesSkippedStatesAndPooledEqualTransformers) {
  const std::string name = GetParam();
  const auto golden = test::load_golden(diffusion_golden(name + ".safetensors"));
  const auto model = tiny<ClipTextModel>(name, name == "clip_projection");
  const at::Tensor& ids = golden.at("ids");
  const ClipTextOutput last = model->forward(ids, 0, /*final_norm=*/true, /*pool=*/true);
  const at::Tensor penultimate = model->forward(ids, 1, /*final_norm=*/false, /*pool=*/false).states;
  EXPECT_LT(difference(last.states, golden.at("last")), 1e-5);
  EXPECT_LT(difference(last.pooled, golden.at("pooled")), 1e-5);
  EXPECT_LT(difference(penultimate, golden.at("penultimate")), 1e-5);
  EXPECT_LT(difference(model->forward(ids, 1, true, false).states, golden.at("penultimate_normed")), 1e-5);
  const ClipTextOutput both = model->forward(ids, 1, false, true);
  EXPECT_TRUE(at::equal(both.states, penultimate));
  EXPECT_LT(difference(both.pooled, golden.at("pooled")), 1e-5);
  fixed_loss({last.states, penultimate, last.pooled}).backward();
  worst_gradient(*model, golden);
}

INSTANTIATE_TEST_SUITE_P(Kinds, TinyClip, ::testing::Values("clip", "clip_projection", "clip_old_end"),
                         [](const auto& i) { return std::string(i.param); });

TEST(TinyClip, RefusesIdsThatItDoesNotKnow) {
  const auto model = tiny<ClipTextModel>("clip", false);
  const auto ids = [](std::vector<int64_t> row) { return at::tensor(row).unsqueeze(0).to(test::test_device()); };
  EXPECT_LOWRANK_ERROR(model->forward(ids({38, 40}), 0, true, false), ErrorKind::invalid_argument, "ids from 0 to 39, got 38 to 40");
  EXPECT_LOWRANK_ERROR(model->forward(ids(std::vector<int64_t>(10, 1)), 0, true, false), ErrorKind::invalid_argument,
                       "at most 9 tokens, got 10");
  EXPECT_LOWRANK_ERROR(model->forward(ids({38, 3}), 0, true, true), ErrorKind::invalid_argument, "end-of-text token (39)");
  EXPECT_LOWRANK_ERROR(model->forward(ids({38, 39}), 3, true, false), ErrorKind::invalid_argument, "skip 0 to 2 layers, got 3");
}

/// Number of tensors and hash of the lines "name shape", in order.
Json digest(std::vector<std::string> lines) {
  std::ranges::sort(lines);
  std::string all;
  for (const auto& line : lines) all += line + "\n";
  return {{"tensors", lines.size()}, {"sha256", sha256_hex(all)}};
}

std::vector<std::string> listing(const torch::nn::Module& model) {
  std::vector<std::string> lines;
  for (const auto& parameter : model.named_parameters())
    lines.push_back(parameter.key() + " " + tensor::shape_text(parameter.value().sizes()));
  return lines;
}

TEST(FullModels, NamesAndShapesEqualDiffusers) {
  const nn::NewWeights no_memory{c10::TensorOptions().device(at::kMeta)};
  const Json expected = read_json(diffusion_golden("names.json"));
  for (const std::string kind : {"sd15", "sdxl"}) {
    const Json& configs = pipeline_configs(kind);
    EXPECT_EQ(digest(listing(UNet2DConditionModel(configs["unet"], kind))), expected["unet_" + kind]) << kind;
    EXPECT_EQ(digest(listing(AutoencoderKL(configs["vae"], kind))), expected["vae"]) << kind;
  }
}

/// "ours theirs" of every parameter, a third of a fused tensor as "name[row]".
template <class NameOf>
void add_pairs(std::vector<std::string>& lines, const std::string& model, const torch::nn::Module& module, NameOf&& name_of) {
  for (const auto& parameter : module.named_parameters()) {
    const io::LdmTensor theirs = name_of(parameter.key());
    const int third = static_cast<int>(theirs.part) - static_cast<int>(io::LdmPart::first_third);
    lines.push_back(fmt::format("{} {} {}{}", model, parameter.key(), theirs.name, third < 0 ? "" : fmt::format("[{}]", third)));
  }
}

TEST(FullModels, OriginalNamesEqualDiffusersConversion) {
  const nn::NewWeights no_memory{c10::TensorOptions().device(at::kMeta)};
  const Json expected = read_json(diffusion_golden("names.json"));
  const ClipTextModel clip(pipeline_configs("sdxl")["text_encoder_2"], "clip", true);
  const AutoencoderKL vae(pipeline_configs("sd15")["vae"], "vae");
  for (const std::string kind : {"sd15", "sdxl"}) {
    const UNet2DConditionModel unet(pipeline_configs(kind)["unet"], kind);
    const io::LdmUNet numbering{.layers = 2, .up_attends = unet.config().up_attends};
    std::vector<std::string> lines;
    add_pairs(lines, "unet", unet, [&](const std::string& name) { return io::LdmTensor{io::ldm_unet_name(name, numbering)}; });
    add_pairs(lines, "vae", vae, [](const std::string& name) { return io::ldm_vae_name(name, 4); });
    add_pairs(lines, "clip", clip, [](const std::string& name) { return io::open_clip_name(name); });
    EXPECT_EQ(digest(lines), expected["ldm_" + kind]) << kind;
    for (const auto& parameter : unet.named_parameters()) {
      EXPECT_EQ(io::diffusers_unet_name(io::ldm_unet_name(parameter.key(), numbering), numbering), parameter.key());
    }
  }
}

}  // namespace lowrank::models
