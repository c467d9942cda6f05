// ViT (Dosovitskiy et al., arXiv 2010.11929): pre-norm layers over patches and one class token. ViTModel and
// ViTForImageClassification of transformers, whose names changed in its version 5 while its files kept the former ones.
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

#include "lowrank/base/random.h"
#include "lowrank/kernels/attention.h"
#include "lowrank/models/config_reader.h"
#include "lowrank/models/family.h"
#include "lowrank/models/head.h"
#include "lowrank/models/image_model.h"
#include "lowrank/models/output_rows.h"
#include "lowrank/nn/conv2d.h"
#include "lowrank/nn/layer_norm.h"
#include "lowrank/tensor/load.h"

namespace lowrank::models {

namespace {

constexpr int64_t kChannels = 3;

struct VitConfig {
  int64_t width, layers, heads, inner;
  std::array<int64_t, 2> image, patch;
  bool qkv_bias;
  double epsilon;
  Activation activation;

  int64_t tokens() const { return 1 + (image[0] / patch[0]) * (image[1] / patch[1]); }
};

VitConfig read_config(const Json& json, const std::string& where) {
  ConfigReader reader(json, where);
  reader.model_keys();
  VitConfig config{};
  config.width = reader.size("hidden_size");
  config.layers = reader.size("num_hidden_layers");
  config.heads = reader.size("num_attention_heads");
  config.inner = reader.size("intermediate_size");
  config.image = reader.extent("image_size");
  config.patch = reader.extent("patch_size");
  config.qkv_bias = reader.flag("qkv_bias", true);
  config.epsilon = reader.number("layer_norm_eps", 1e-12);
  config.activation = reader.activation("hidden_act");
  reader.only("num_channels", kChannels);
  reader.only("pooler_act", "tanh");
  reader.only("pooler_output_size", config.width);
  // The stride is that of masked image modelling's decoder.
  reader.harmless({"hidden_dropout_prob", "attention_probs_dropout_prob", "encoder_stride"});
  reader.finish();
  check(config.width % config.heads == 0, ErrorKind::file_format, where,
        "expected 'hidden_size' to be a multiple of 'num_attention_heads', got {} and {}", config.width, config.heads);
  check(config.image[0] >= config.patch[0] && config.image[1] >= config.patch[1], ErrorKind::file_format, where,
        "expected 'image_size' to hold a patch of {} × {}, got {} × {}", config.patch[0], config.patch[1], config.image[0],
        config.image[1]);
  return config;
}

/// `each` keys for every picture, from its own.
nn::RowKeys spread(const nn::RowKeys& pictures, std::string_view purpose, int64_t each) {
  nn::RowKeys keys;
  keys.reserve(pictures.size() * static_cast<size_t>(each));
  for (const uint64_t picture : pictures) {
    RandomStream stream(picture, purpose);
    for (int64_t i = 0; i < each; ++i) keys.push_back(stream.next_u64());
  }
  return keys;
}

class VitEmbeddings : public torch::nn::Module {
 public:
  explicit VitEmbeddings(const VitConfig& config) : config_(config) {
    register_parameter("cls_token", at::zeros({1, 1, config.width}), /*requires_grad=*/false);
    register_parameter("position_embeddings", at::zeros({1, config.tokens(), config.width}), /*requires_grad=*/false);
    const auto patches = register_module("patch_embeddings", std::make_shared<torch::nn::Module>("ViTPatchEmbeddings"));
    const nn::Conv2dOptions options{.in = kChannels, .out = config.width, .kernel = config.patch, .stride = config.patch};
    projection_ = patches->register_module("projection", std::make_shared<nn::Conv2d>(options));
  }

  /// [B·T, D]
  at::Tensor forward(const nn::Pictures& pictures) {
    // A convolution's rows are its picture's.
    const nn::RowKeys keys = spread(pictures.keys, "rows of pixels", kChannels * config_.image[0]);
    const at::Tensor pixels = pictures.pixels.to(projection_->weight().scalar_type());
    const at::Tensor patches = projection_->forward(pixels, keys.empty() ? nullptr : &keys).flatten(2).transpose(1, 2);
    const at::Tensor first = parameters_["cls_token"].expand({pictures.size(), 1, config_.width});
    return (at::cat({first, patches}, 1) + parameters_["position_embeddings"]).flatten(0, 1);
  }

 private:
  VitConfig config_;
  std::shared_ptr<nn::Conv2d> projection_;
};

class VitAttention : public torch::nn::Module {
 public:
  explicit VitAttention(const VitConfig& config) : heads_(config.heads) {
    query_ = register_module("q_proj", std::make_shared<nn::Linear>(config.width, config.width, config.qkv_bias));
    key_ = register_module("k_proj", std::make_shared<nn::Linear>(config.width, config.width, config.qkv_bias));
    value_ = register_module("v_proj", std::make_shared<nn::Linear>(config.width, config.width, config.qkv_bias));
    out_ = register_module("o_proj", std::make_shared<nn::Linear>(config.width, config.width));
  }

  at::Tensor forward(const at::Tensor& x, const OutputRows& rows) {
    const at::Tensor q = query_->forward(rows.select(x), rows.keys()), k = key_->forward(x, rows.all_keys());
    const auto pictures = static_cast<int64_t>(rows.offsets().size()) - 1;
    return out_->forward(kernels::batch_attention(q, k, value_->forward(x, rows.all_keys()), pictures, heads_), rows.keys());
  }

 private:
  int64_t heads_;
  std::shared_ptr<nn::Linear> query_, key_, value_, out_;
};

class VitMlp : public torch::nn::Module {
 public:
  explicit VitMlp(const VitConfig& config)
      : activation_(config.activation),
        first_(register_module("fc1", std::make_shared<nn::Linear>(config.width, config.inner))),
        second_(register_module("fc2", std::make_shared<nn::Linear>(config.inner, config.width))) {}

  at::Tensor forward(const at::Tensor& x, const nn::RowKeys* keys) { return second_->forward(activation_(first_->forward(x, keys)), keys); }

 private:
  Activation activation_;
  std::shared_ptr<nn::Linear> first_, second_;
};

class VitLayer : public torch::nn::Module {
 public:
  explicit VitLayer(const VitConfig& config)
      : attention_(register_module("attention", std::make_shared<VitAttention>(config))),
        before_(register_module("layernorm_before", std::make_shared<nn::LayerNorm>(config.width, config.epsilon))),
        after_(register_module("layernorm_after", std::make_shared<nn::LayerNorm>(config.width, config.epsilon))),
        mlp_(register_module("mlp", std::make_shared<VitMlp>(config))) {}

  at::Tensor forward(const at::Tensor& x, const OutputRows& rows) {
    const at::Tensor attended = attention_->forward(before_->forward(x), rows) + rows.select(x);
    return mlp_->forward(after_->forward(attended), rows.keys()) + attended;
  }

 private:
  std::shared_ptr<VitAttention> attention_;
  std::shared_ptr<nn::LayerNorm> before_, after_;
  std::shared_ptr<VitMlp> mlp_;
};

class VitModel : public ImageModel {
 public:
  VitModel(const VitConfig& config, const HeadOptions& head, bool stored_pooler) : vit_(config) {
    head_ = head;
    if (head.kind == HeadKind::none) {
      build_encoder(*this);
      if (!stored_pooler) return;
      // Nothing here reads it: it is kept for those who load what is saved.
      const auto pooler = register_module("pooler", std::make_shared<torch::nn::Module>("ViTPooler"));
      pooler->register_module("dense", std::make_shared<nn::Linear>(config.width, config.width));
      head_modules_ = {"pooler"};
      return;
    }
    build_encoder(*register_module("vit", std::make_shared<torch::nn::Module>("ViTModel")));
    classifier_ = register_module("classifier", std::make_shared<nn::Linear>(config.width, outputs_of(head)));
    head_modules_ = may_be_new_ = {"classifier"};
  }

  at::Tensor encode(const nn::Pictures& pictures, bool first_token_only) override {
    check_pictures(pictures);
    nn::Sequences rows{.offsets = {0}, .keys = spread(pictures.keys, "tokens", vit_.tokens())};
    for (int64_t b = 0; b < pictures.size(); ++b) rows.offsets.push_back(rows.offsets.back() + vit_.tokens());
    const OutputRows all(rows, false), wanted(rows, first_token_only);
    at::Tensor x = embeddings_->forward(pictures);
    for (const auto& layer : layers_) x = layer->forward(x, layer == layers_.back() ? wanted : all);
    x = norm_->forward(x);
    return first_token_only ? x : x.view({pictures.size(), vit_.tokens(), vit_.width});
  }

  at::Tensor classify(const at::Tensor& features, const nn::RowKeys* keys) override {
    require_head(*this);
    return head_logits(*classifier_, features, keys);
  }

  int64_t width() const override { return vit_.width; }
  std::array<int64_t, 2> image_size() const override { return vit_.image; }
  std::string architecture() const override { return head_.kind == HeadKind::none ? "ViTModel" : "ViTForImageClassification"; }

 private:
  void build_encoder(torch::nn::Module& owner) {
    embeddings_ = owner.register_module("embeddings", std::make_shared<VitEmbeddings>(vit_));
    const auto list = owner.register_module("layers", std::make_shared<torch::nn::Module>("ModuleList"));
    for (int64_t i = 0; i < vit_.layers; ++i) {
      layers_.push_back(list->register_module(std::to_string(i), std::make_shared<VitLayer>(vit_)));
    }
    norm_ = owner.register_module("layernorm", std::make_shared<nn::LayerNorm>(vit_.width, vit_.epsilon));
  }

  void check_pictures(const nn::Pictures& pictures) const {
    const at::Tensor& pixels = pictures.pixels;
    if (pixels.dim() != 4 || pixels.size(1) != kChannels || pixels.size(2) != vit_.image[0] || pixels.size(3) != vit_.image[1]) {
      fail(ErrorKind::shape, "encode",
           fmt::format("expected pictures [B, {}, {}, {}], got {}", kChannels, vit_.image[0], vit_.image[1],
                       tensor::shape_text(pixels.sizes())),
           "resize the pictures to the model's image_size: its position embeddings are not interpolated for others");
    }
    check(pictures.keys.empty() || static_cast<int64_t>(pictures.keys.size()) == pictures.size(), ErrorKind::shape, "encode",
          "expected one dropout key a picture, got {} for {}", pictures.keys.size(), pictures.size());
  }

  VitConfig vit_;
  std::shared_ptr<VitEmbeddings> embeddings_;
  std::vector<std::shared_ptr<VitLayer>> layers_;
  std::shared_ptr<nn::LayerNorm> norm_;
  std::shared_ptr<nn::Linear> classifier_;
};

std::unique_ptr<Model> make(const Json& config, const std::string& where, const HeadOptions& head, bool stored_pooler) {
  return std::make_unique<VitModel>(read_config(config, where), head, stored_pooler);
}

PictureInput picture_input(const Json& json, const std::string& where) {
  const VitConfig config = read_config(json, where);
  return {config.image[0], config.image[1], config.tokens()};
}

}  // namespace

const Family& vit_family() {
  static const Family family{"vit",
                             "vit.",
                             {"decoder.", "embeddings.mask_token", "pooler.", "classifier."},
                             {{"encoder.layer.", "layers."},
                              {"attention.attention.query", "attention.q_proj"},
                              {"attention.attention.key", "attention.k_proj"},
                              {"attention.attention.value", "attention.v_proj"},
                              {"attention.output.dense", "attention.o_proj"},
                              {"intermediate.dense", "mlp.fc1"},
                              {"output.dense", "mlp.fc2"}},
                             make,
                             picture_input};
  return family;
}

}  // namespace lowrank::models
