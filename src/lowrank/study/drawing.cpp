#include "lowrank/study/drawing.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/stack.h>
#include <algorithm>
#include <map>

#include "lowrank/base/error.h"
#include "lowrank/train/diffusion/picture_batch.h"

namespace lowrank::study {

namespace {

/// Numbers of equal key, in order, at most `batch` together.
template <class Key>
std::vector<std::vector<size_t>> batches_of(size_t count, int64_t batch, Key&& key) {
  std::map<decltype(key(size_t{0})), std::vector<size_t>> groups;
  for (size_t i = 0; i < count; ++i) groups[key(i)].push_back(i);
  std::vector<std::vector<size_t>> batches;
  for (const auto& [_, group] : groups) {
    for (size_t begin = 0; begin < group.size(); begin += static_cast<size_t>(batch)) {
      const auto first = group.begin() + static_cast<std::ptrdiff_t>(begin);
      batches.emplace_back(first, first + std::min<std::ptrdiff_t>(batch, group.end() - first));
    }
  }
  return batches;
}

std::vector<int64_t> size_of(const at::Tensor& picture) { return picture.sizes().vec(); }

at::Tensor gather(const std::vector<at::Tensor>& tensors, const std::vector<size_t>& which) {
  std::vector<at::Tensor> chosen;
  for (const size_t i : which) chosen.push_back(tensors[i]);
  return at::stack(chosen);
}

generate::TextConditions together(const std::vector<generate::Conditions>& all, const std::vector<size_t>& which,
                                  generate::TextConditions generate::Conditions::*side) {
  std::vector<at::Tensor> states, pooled;
  for (const size_t i : which) {
    states.push_back((all[i].*side).states);
    if ((all[i].*side).pooled.defined()) pooled.push_back((all[i].*side).pooled);
  }
  return {at::cat(states), pooled.empty() ? at::Tensor() : at::cat(pooled)};
}

}  // namespace

void declare(OptionTable& table, DrawOptions& options) {
  declare(table, options.sample.sampler);
  table.add("cfg", options.sample.cfg, "how much a caption is followed; 1: twice as fast, without a negative prompt")
      .range(0, 100)
      .group("Sampling");
  table.add("negative", options.negative, "what test pictures keep away from").group("Sampling");
  table.add("draw-seed", options.seed, "noise of the first test picture; the i-th has this + i, for every method")
      .range(0, 9e15)
      .group("Sampling");
  table.add("draw-batch", options.batch, "test pictures drawn at once").range(1, 4096).group("Sampling");
}

DrawingSet drawing_set(const data::ImageSet& set, const data::ImageDataOptions& options) {
  DrawingSet drawings;
  for (int64_t i = 0; i < set.size(); ++i) {
    const auto& sample = set.entries[static_cast<size_t>(i)].sample;
    drawings.captions.push_back(data::plain_caption(sample.caption, train::caption_options(sample, options.caption)));
    drawings.sizes.push_back(set.entries[static_cast<size_t>(i)].placement.bucket);
    data::Picture picture = set.prepare(i, options, /*mirrored=*/false).picture;
    const at::Tensor bytes = at::from_blob(picture.rgb.data(), {picture.size.height, picture.size.width, 3}, at::kByte);
    drawings.truth.push_back(bytes.permute({2, 0, 1}).to(at::kFloat).contiguous() / 255);
  }
  return drawings;
}

std::vector<generate::Conditions> encode_captions(const generate::PromptEncoder& encoder, const std::vector<std::string>& captions,
                                                  const std::string& negative) {
  std::vector<generate::Conditions> conditions;
  for (const auto& caption : captions) conditions.push_back(encoder.encode(caption, negative));
  return conditions;
}

std::vector<at::Tensor> draw(const models::Pipeline& pipeline, const DrawingSet& set, const std::vector<generate::Conditions>& conditions,
                             const DrawOptions& options, int64_t first_seed, const RunHooks& hooks) {
  const auto sampler = generate::sampler_for(pipeline, options.sample.sampler);
  const int64_t shrink = pipeline.vae->shrink(), channels = pipeline.unet->config().in;
  std::vector<at::Tensor> pictures(conditions.size());
  int64_t done = 0;
  const auto key = [&](size_t i) { return std::pair(set.sizes[i], conditions[i].positive.states.size(1)); };
  for (const auto& batch : batches_of(pictures.size(), options.batch, key)) {
    std::vector<uint64_t> seeds;
    for (const size_t i : batch) seeds.push_back(static_cast<uint64_t>(first_seed) + i);
    const data::Size size = set.sizes[batch.front()];
    const at::Tensor noise = generate::seed_noise(seeds, -1, {channels, size.height / shrink, size.width / shrink});
    const generate::Conditions texts{together(conditions, batch, &generate::Conditions::positive),
                                     together(conditions, batch, &generate::Conditions::negative)};
    const at::Tensor latents = generate::denoise(pipeline, *sampler, texts, options.sample.cfg, noise, seeds, {.stop = hooks.stop});
    const auto drawn = generate::decode(pipeline, latents, options.batch).unbind();
    for (size_t i = 0; i < batch.size(); ++i) pictures[batch[i]] = drawn[i];
    done += static_cast<int64_t>(batch.size());
    if (hooks.progress) hooks.progress({"draw", done, set.size(), "pictures", {}});
  }
  return pictures;
}

std::vector<at::Tensor> reconstruct(const models::Pipeline& pipeline, const std::vector<at::Tensor>& pictures, int64_t batch) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> result(pictures.size());
  const auto like = pipeline.vae->parameters().front().options();
  for (const auto& which : batches_of(pictures.size(), batch, [&](size_t i) { return size_of(pictures[i]); })) {
    const at::Tensor mean = pipeline.vae->encode((gather(pictures, which) * 2 - 1).to(like)).mean;
    const auto decoded = generate::decode(pipeline, mean.to(at::kFloat) * pipeline.vae->scaling_factor(), batch).unbind();
    for (size_t i = 0; i < which.size(); ++i) result[which[i]] = decoded[i];
  }
  return result;
}

std::vector<at::Tensor> features_of(evaluate::PictureFeatures& features, const std::vector<at::Tensor>& pictures, int64_t batch) {
  std::vector<at::Tensor> result(pictures.size());
  for (const auto& which : batches_of(pictures.size(), batch, [&](size_t i) { return size_of(pictures[i]); })) {
    const auto rows = features.of(gather(pictures, which)).unbind();
    for (size_t i = 0; i < which.size(); ++i) result[which[i]] = rows[i];
  }
  return result;
}

std::vector<double> pixel_distances(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  std::vector<double> result;
  for (size_t i = 0; i < a.size(); ++i) result.push_back(evaluate::pixel_distances(a[i].unsqueeze(0), b[i].unsqueeze(0)).item<double>());
  return result;
}

std::vector<double> feature_distances(const evaluate::PictureFeatures& features, const std::vector<at::Tensor>& a,
                                      const std::vector<at::Tensor>& b) {
  std::vector<double> result;
  for (size_t i = 0; i < a.size(); ++i) result.push_back(features.distances(a[i].unsqueeze(0), b[i].unsqueeze(0)).item<double>());
  return result;
}

void write_drawing(const std::filesystem::path& file, const at::Tensor& picture) {
  std::filesystem::create_directories(file.parent_path());
  data::write_png(file, {{picture.size(2), picture.size(1)}, generate::rgb_bytes(picture), {}, {}});
}

}  // namespace lowrank::study
