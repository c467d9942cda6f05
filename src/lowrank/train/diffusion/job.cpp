#include "lowrank/train/diffusion/job.h"

#include <ATen/ops/zeros.h>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <set>

#include "lowrank/base/error.h"
#include "lowrank/base/log.h"
#include "lowrank/base/random.h"
#include "lowrank/tensor/dtype.h"
#include "lowrank/tensor/runtime.h"

namespace lowrank::train {

namespace fs = std::filesystem;

namespace {

constexpr int64_t kMostWindows = 8;

fs::path cache_folder(const DiffusionRequest& request) {
  if (!request.diffusion.cache.empty()) return request.diffusion.cache;
  return request.out.empty() ? fs::path() : request.out / "cache";
}

std::vector<ClipTokens> tokens_for(const DiffusionRequest& request, bool xl) {
  std::vector<ClipTokens> tokens = request.tokens;
  if (!xl || tokens.size() != 1) return tokens;
  tokens.push_back(tokens.front());
  tokens.back().padding = 0;  // as SDXL's second tokenizer has it: "!"
  return tokens;
}

data::Draw draw_of(int64_t item) { return {item & ((int64_t{1} << 40) - 1), item >> 40}; }

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines(1);
  for (const char letter : text) {
    if (letter == '\n') {
      lines.emplace_back();
    } else {
      lines.back() += letter;
    }
  }
  return lines;
}

}  // namespace

DiffusionJob::DiffusionJob(const DiffusionRequest& request)
    : request_(request),
      trainee_(make_trainee(request)),
      cache_(cache_folder(request)),
      latents_(*request.pictures, request.diffusion.pictures, *trainee_.pipeline.vae, cache_),
      trains_text_(request.diffusion.text_encoder_learning_rate > 0) {
  check(request.options.label_smoothing == 0, ErrorKind::invalid_argument, "label-smoothing", "expected 0 for an image model, got {}",
        request.options.label_smoothing);
  const models::Pipeline& pipeline = trainee_.pipeline;
  const int64_t latents = pipeline.vae->config().latents, in = pipeline.unet->config().in;
  check(latents == in, ErrorKind::unsupported, request.model.string(), "expected a UNet for {} latent channels, got one for {}", latents,
        in);
  const auto tokens = tokens_for(request, pipeline.is_xl());
  text_ = std::make_unique<TextStates>(pipeline, tokens, TextOptions{request.diffusion.clip_skip, 1});
  text_ = std::make_unique<TextStates>(pipeline, tokens, TextOptions{request.diffusion.clip_skip, windows()});
  const auto scheduler = diffusion::with_options(diffusion::parse_scheduler_config(pipeline.scheduler, request.model.string(), "ddpm"),
                                                 request.diffusion.diffusion);
  model_shift_ = scheduler.shift;
  loss_ =
      std::make_unique<diffusion::DiffusionLoss>(diffusion::NoiseSchedule(scheduler), scheduler.prediction, request.diffusion.diffusion);
  hold_out();
  const auto make_source = [&](const data::ImageSet& set, const Latents& of) {
    const TextUse use = trains_text_ ? TextUse::trained : known_captions().empty() ? TextUse::encoded : TextUse::cached;
    return std::make_unique<PictureSource>(set, request_.diffusion, pipeline.unet, of, *text_, cache_, use);
  };
  source_ = make_source(*request.pictures, latents_);
  if (request.validation != nullptr) {
    validation_latents_ = std::make_unique<Latents>(*request.validation, request.diffusion.pictures, *pipeline.vae, cache_);
  }
  validation_source_ =
      request.validation == nullptr ? make_source(*request.pictures, latents_) : make_source(*request.validation, *validation_latents_);
}

/// Pictures of equal bytes stay together; which ones are held out depends on their bytes and the seed.
void DiffusionJob::hold_out() {
  const data::ImageSet& set = *request_.pictures;
  std::set<std::string> chosen;
  if (request_.validation != nullptr) {
    held_out_.resize(static_cast<size_t>(request_.validation->size()));
    std::iota(held_out_.begin(), held_out_.end(), 0);
  } else {
    std::map<uint64_t, std::string> order;
    for (const auto& entry : set.entries) {
      uint64_t number = 0;
      std::from_chars(entry.content_hash.data(), entry.content_hash.data() + 16, number, 16);
      if (!entry.sample.is_prior) order[RandomStream(seed(), "held-out pictures", 0, number).next_u64()] = entry.content_hash;
    }
    const auto count = static_cast<size_t>(std::llround(request_.diffusion.validation_fraction * static_cast<double>(order.size())));
    for (auto it = order.begin(); chosen.size() < count && it != order.end(); ++it) chosen.insert(it->second);
  }
  std::vector<data::Size> buckets;
  std::vector<int64_t> repeats;
  for (int64_t i = 0; i < set.size(); ++i) {
    const auto& entry = set.entries[static_cast<size_t>(i)];
    if (!entry.sample.is_prior && chosen.contains(entry.content_hash)) {
      held_out_.push_back(i);
      continue;
    }
    shown_.push_back(i);
    buckets.push_back(entry.placement.bucket);
    repeats.push_back(entry.sample.repeats);
  }
  const TrainOptions& options = request_.options;
  batcher_ = std::make_unique<data::BucketBatcher>(
      buckets, repeats, data::ImageBatchOptions{.batch_size = options.batch_size * options.gradient_accumulation, .seed = seed()});
}

std::vector<std::string> DiffusionJob::held_out() const {
  const data::ImageSet& set = validation_source_->set();
  std::vector<std::string> names;
  for (const int64_t picture : held_out_) names.push_back(set.entries[static_cast<size_t>(picture)].sample.name);
  return names;
}

int64_t DiffusionJob::windows() const {
  if (request_.diffusion.prompt_windows > 0) return request_.diffusion.prompt_windows;
  const int64_t inner = text_->limit() - 2;
  int64_t longest = 0;
  for (const data::ImageSet* set : {request_.pictures, request_.validation}) {
    if (set == nullptr) continue;
    for (const auto& entry : set->entries) {
      const auto options = caption_options(entry.sample, request_.diffusion.pictures.caption);
      for (const auto& line : lines_of(entry.sample.caption))
        longest = std::max(longest, text_->count(data::plain_caption(line, options)) - 2);
    }
  }
  const int64_t wanted = std::max<int64_t>(1, (longest + inner - 1) / inner);
  if (wanted > kMostWindows) {
    log(LogLevel::warning, "train",
        fmt::format("the longest caption has {} tokens; those after {} are cut", longest, kMostWindows * inner));
  }
  return std::min(wanted, kMostWindows);
}

std::vector<Pass> DiffusionJob::passes(int64_t step) {
  const int64_t epoch = step / steps_per_epoch();
  const data::ImageBatch batch = batcher_->batch(epoch, step % steps_per_epoch());
  std::vector<Pass> passes;
  for (size_t i = 0; i < batch.draws.size(); ++i) {
    if (static_cast<int64_t>(i) % request_.options.batch_size == 0) passes.emplace_back();
    const data::Draw draw{shown_[static_cast<size_t>(batch.draws[i].picture)], batch.draws[i].repeat};
    passes.back().items.push_back(static_cast<int64_t>(draw.item()));
    passes.back().weight += 1;
    ++passes.back().units;
  }
  return passes;
}

at::Tensor DiffusionJob::loss(const Pass& pass, int64_t step) {
  std::vector<data::Draw> draws;
  for (const int64_t item : pass.items) draws.push_back(draw_of(item));
  const PictureBatch batch = source_->training(draws, step / steps_per_epoch(), step, seed(), trainee_.has_dropout());
  const auto& options = request_.diffusion.diffusion;
  const auto update = static_cast<uint64_t>(step);
  const auto timesteps = diffusion::training_timesteps(options, loss_->schedule(), model_shift_, seed(), update, batch.ids);
  const auto noise = diffusion::training_noise(options, batch.clean, seed(), update, batch.ids);
  return denoising_loss(*trainee_.pipeline.unet, *loss_, batch, noise, timesteps).sum;
}

Probe DiffusionJob::training_probe() {
  const auto area = [this](int64_t i) { return request_.pictures->entries[static_cast<size_t>(i)].placement.bucket.area(); };
  const int64_t largest = *std::ranges::max_element(shown_, {}, area);
  const data::Size bucket = request_.pictures->entries[static_cast<size_t>(largest)].placement.bucket;
  int64_t draws = 0;
  for (const int64_t i : shown_) {
    const auto& entry = request_.pictures->entries[static_cast<size_t>(i)];
    if (entry.placement.bucket == bucket) draws += entry.sample.repeats;
  }
  Probe probe{.rows = std::min(request_.options.batch_size, draws), .units = [](int64_t rows) { return rows; }, .has_gradients = true};
  probe.run = [this, bucket](int64_t rows) {
    const auto& pipeline = trainee_.pipeline;
    const int64_t shrink = pipeline.vae->shrink();
    const auto like = pipeline.unet->parameters().front().options();
    PictureBatch batch{.weights = std::vector<double>(static_cast<size_t>(rows), 1)};
    batch.clean = at::zeros({rows, pipeline.unet->config().in, bucket.height / shrink, bucket.width / shrink}, like.dtype(at::kFloat));
    const auto [width, pooled] = text_->widths();
    batch.text.states = at::zeros({rows, text_->length(), width}, like);
    if (trains_text_) batch.text = text_->encode(std::vector<std::string>(static_cast<size_t>(rows)));
    if (pipeline.is_xl()) batch.time_ids = at::zeros({rows, 6}, like);
    if (pipeline.is_xl() && !trains_text_) batch.text.pooled = at::zeros({rows, pooled}, like);
    if (trainee_.has_dropout()) batch.keys.resize(static_cast<size_t>(rows));
    const std::vector<double> timesteps(static_cast<size_t>(rows), static_cast<double>(loss_->schedule().timesteps() / 2));
    denoising_loss(*pipeline.unet, *loss_, batch, {batch.clean, batch.clean}, timesteps).sum.backward();
  };
  return probe;
}

Probe DiffusionJob::encoding_probe() {
  data::Size largest;
  for (const data::ImageSet* set : {request_.pictures, request_.validation}) {
    if (set == nullptr) continue;
    for (const auto& entry : set->entries) {
      if (entry.placement.bucket.area() > largest.area()) largest = entry.placement.bucket;
    }
  }
  const auto one = [](int64_t) { return int64_t{1}; };
  return {.rows = 1, .units = one, .run = [this, largest](int64_t) {
            const auto like = trainee_.pipeline.vae->parameters().front().options();
            trainee_.pipeline.vae->encode(at::zeros({1, 3, largest.height, largest.width}, like));
          }};
}

std::vector<Probe> DiffusionJob::probes() {
  std::vector<Probe> probes = {training_probe()};
  const bool complete = latents_.is_complete() && (!validation_latents_ || validation_latents_->is_complete());
  if (!complete) probes.push_back(encoding_probe());
  return probes;
}

std::vector<std::string> DiffusionJob::known_captions() const {
  const data::CaptionOptions& options = request_.diffusion.pictures.caption;
  if (options.shuffle || options.tag_dropout > 0 || options.lines == "random") return {};
  std::set<std::string> captions;
  if (options.dropout > 0 || options.dropout_every_epochs > 0) captions.insert("");
  const auto add = [&](const data::ImageSet& set) {
    for (const auto& entry : set.entries)
      captions.insert(data::plain_caption(entry.sample.caption, caption_options(entry.sample, options)));
  };
  add(*request_.pictures);
  if (request_.validation != nullptr) add(*request_.validation);
  return {captions.begin(), captions.end()};
}

void DiffusionJob::prepare(const ProgressSink& progress) {
  models::Pipeline& pipeline = trainee_.pipeline;
  latents_.encode(*pipeline.vae, progress, request_.stop);
  if (validation_latents_) validation_latents_->encode(*pipeline.vae, progress, request_.stop);
  const auto captions = trains_text_ ? std::vector<std::string>{} : known_captions();
  for (size_t i = 0; i < captions.size(); ++i) {
    if (request_.stop != nullptr && request_.stop->requested()) fail(ErrorKind::cancelled, "captions", "stopped by the user");
    text_->cached({captions[i]}, cache_);
    if (progress) progress({"encode captions", static_cast<int64_t>(i) + 1, static_cast<int64_t>(captions.size()), "captions", {}});
  }
  if (trainee_.method == "full") return;  // all is saved in the end
  pipeline.vae.reset();
  if (!captions.empty()) {
    text_->release();
    pipeline.text_encoder.reset();
    pipeline.text_encoder_2.reset();
  }
  tensor::return_free_memory();
}

Validation DiffusionJob::validate(const StopToken* stop, const ProgressSink& progress) {
  const int64_t bands = request_.diffusion.validation_bands;
  const data::ImageSet& set = validation_source_->set();
  std::map<data::Size, std::vector<int64_t>> buckets;
  for (const int64_t picture : held_out_) buckets[set.entries[static_cast<size_t>(picture)].placement.bucket].push_back(picture);
  diffusion::BandedLoss losses(bands);
  int64_t done = 0;
  for (const auto& [size, pictures] : buckets) {
    for (size_t begin = 0; begin < pictures.size(); begin += static_cast<size_t>(request_.options.batch_size)) {
      const size_t count = std::min(static_cast<size_t>(request_.options.batch_size), pictures.size() - begin);
      const PictureBatch batch = validation_source_->plain(std::span(pictures).subspan(begin, count));
      for (int64_t band = 0; band < bands; ++band) {
        if (stop != nullptr && stop->requested()) fail(ErrorKind::cancelled, "validate", "stopped by the user");
        const auto timesteps = diffusion::validation_timesteps(loss_->schedule(), band, bands, seed(), batch.ids);
        const at::Tensor noise =
            diffusion::validation_noise(band, seed(), batch.ids, batch.clean.sizes().slice(1)).to(batch.clean.device());
        const at::Tensor each = denoising_losses(*trainee_.pipeline.unet, *loss_, batch, noise, timesteps).cpu();
        for (size_t i = 0; i < count; ++i) losses.add(batch.ids[i], band, each[static_cast<int64_t>(i)].item<double>());
        done += static_cast<int64_t>(count);
        if (progress) progress({"validate", done, static_cast<int64_t>(held_out_.size()) * bands, "pictures", {}});
      }
    }
  }
  const auto error = [](const diffusion::MeanLoss& loss) { return loss.standard_error ? Json(*loss.standard_error) : Json(); };
  Json rows = Json::array();
  for (int64_t band = 0; band < bands; ++band) {
    const auto [low, high] = diffusion::timestep_band(loss_->schedule(), band, bands);
    const diffusion::MeanLoss loss = losses.band(band);
    rows.push_back({{"from", low}, {"to", high}, {"loss", loss.mean}, {"standard_error", error(loss)}});
  }
  const diffusion::MeanLoss total = losses.total();
  return {.loss = total.mean, .figures = {{"standard_error", error(total)}, {"bands", rows}}};
}

Json DiffusionJob::identity() const {
  std::vector<std::string> captions;
  for (const auto& entry : request_.pictures->entries) captions.push_back(entry.sample.caption);
  Json identity = numeric_options(request_.diffusion);
  identity["dtype"] = tensor::dtype_name(trainee_.pipeline.unet->parameters().front().scalar_type());
  identity["method"] = trainee_.method;
  identity["model"] = trainee_.unet_fingerprint;
  identity["data"] = request_.pictures->report.hash;
  identity["tokens"] = text_->tokens_hash(captions);
  if (request_.validation != nullptr) identity["validation data"] = request_.validation->report.hash;
  for (const auto& [component, set] : trainee_.adapters) identity["adapter of " + component] = set.config.to_json();
  return identity;
}

Json DiffusionJob::describe(const Json& result) const {
  TrainOptions options = request_.options;
  DiffusionTrainOptions diffusion = request_.diffusion;
  OptionTable training, own;
  declare(training, options);
  declare(own, diffusion);
  Json resolved = training.resolved();
  resolved.update(own.resolved());
  Json description = {{"format", 1},
                      {"kind", "diffusion"},
                      {"method", trainee_.method},
                      {"base_model", request_.model.string()},
                      {"base_fingerprint", trainee_.unet_fingerprint},
                      {"data_hash", request_.pictures->report.hash},
                      {"held_out", held_out()},
                      {"options", resolved},
                      {"result", result}};
  if (!trainee_.adapters.empty()) description["adapter"] = trainee_.adapters.front().second.config.to_json();
  if (!request_.record.empty()) description["record"] = request_.record;
  return description;
}

fs::path DiffusionJob::save(const fs::path& out, const Json& description) const {
  return save_result(out, request_, trainee_, description);
}

}  // namespace lowrank::train
