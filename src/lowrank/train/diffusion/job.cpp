#include "lowrank/train/diffusion/job.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "lowrank/base/error.h"
#include "lowrank/base/log.h"
#include "lowrank/tensor/dtype.h"
#include "lowrank/tensor/memory.h"
#include "lowrank/train/description.h"

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

}  // namespace

DiffusionJob::DiffusionJob(const DiffusionRequest& request)
    : request_(request),
      trainee_(make_trainee(request)),
      cache_(cache_folder(request)),
      latents_(*request.pictures, request.diffusion.pictures, *trainee_.pipeline.vae, cache_),
      schedule_(*request.pictures, request.validation == nullptr ? request.diffusion.validation_fraction : 0, request.options),
      trains_text_(request.diffusion.text_encoder_learning_rate > 0) {
  check(request.options.label_smoothing == 0, ErrorKind::invalid_argument, "label-smoothing", "expected 0 for an image model, got {}",
        request.options.label_smoothing);
  const models::Pipeline& pipeline = trainee_.pipeline;
  const int64_t latents = pipeline.vae->config().latents, in = pipeline.unet->config().in;
  check(latents == in, ErrorKind::unsupported, request.model.string(), "expected a UNet for {} latent channels, got one for {}", latents,
        in);
  const auto tokens = tokens_for(request, pipeline.is_xl());
  if (request.validation == nullptr) {
    held_out_ = schedule_.held_out();
  } else {
    held_out_.resize(static_cast<size_t>(request.validation->size()));
    std::iota(held_out_.begin(), held_out_.end(), 0);
  }
  text_ = std::make_unique<TextStates>(pipeline, tokens, TextOptions{request.diffusion.clip_skip, 1});
  fit_captions(tokens);
  const auto scheduler = diffusion::with_options(diffusion::parse_scheduler_config(pipeline.scheduler, request.model.string(), "ddpm"),
                                                 request.diffusion.diffusion);
  model_shift_ = scheduler.shift;
  // What is trained is what samples are drawn by, and what a saved model says; flow needs a scheduler of another class.
  if (const std::string& wanted = request.diffusion.diffusion.prediction_type; wanted != "auto" && wanted != "flow_prediction")
    trainee_.pipeline.scheduler["prediction_type"] = wanted;
  if (request.diffusion.diffusion.zero_terminal_snr) trainee_.pipeline.scheduler["rescale_betas_zero_snr"] = true;
  loss_ =
      std::make_unique<diffusion::DiffusionLoss>(diffusion::NoiseSchedule(scheduler), scheduler.prediction, request.diffusion.diffusion);
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
  if (request.diffusion.samples.is_on()) grid_ = std::make_unique<SampleGrid>(pipeline, request);
}

std::vector<std::string> DiffusionJob::held_out() const {
  const data::ImageSet& set = validation_source_->set();
  std::vector<std::string> names;
  for (const int64_t picture : held_out_) names.push_back(set.entries[static_cast<size_t>(picture)].sample.name);
  return names;
}

/// As many windows as the captions need, or as the user says; what does not fit into them is noted.
void DiffusionJob::fit_captions(const std::vector<ClipTokens>& tokens) {
  const int64_t steps = steps_per_epoch(), wanted = request_.options.max_steps;
  const int64_t epochs = wanted > 0 ? std::min(request_.options.epochs, (wanted + steps - 1) / steps) : request_.options.epochs;
  const data::CaptionOptions& captions = request_.diffusion.pictures.caption;
  CaptionRun run{epochs, seed(), [this](const std::string& text) { return text_->count(text); }};
  auto lengths = longest_captions(*request_.pictures, schedule_.shown(), captions, run);
  run.epochs = 0;
  const data::ImageSet& validated = request_.validation != nullptr ? *request_.validation : *request_.pictures;
  std::ranges::move(longest_captions(validated, held_out_, captions, run), std::back_inserter(lengths));
  const int64_t inner = text_->limit() - 2;
  const double longest = lengths.empty() ? 0 : std::ranges::max(lengths, {}, &data::NamedFigure::figure).figure - 2;
  const auto needed = static_cast<int64_t>(std::ceil(longest / static_cast<double>(inner)));
  const int64_t given = request_.diffusion.prompt_windows;
  const int64_t windows = given > 0 ? given : std::clamp<int64_t>(needed, 1, kMostWindows);
  text_ = std::make_unique<TextStates>(trainee_.pipeline, tokens, TextOptions{request_.diffusion.clip_skip, windows});
  const auto limit = static_cast<double>(text_->limit());
  std::ranges::copy_if(lengths, std::back_inserter(cut_captions_), [&](const data::NamedFigure& one) { return one.figure > limit; });
  std::ranges::stable_sort(cut_captions_, std::greater(), &data::NamedFigure::figure);
  tell_cut_captions();
}

void DiffusionJob::tell_cut_captions() const {
  constexpr size_t kNamed = 5;
  if (cut_captions_.empty()) return;
  Problems problems(ErrorKind::file_format, request_.diffusion.pictures.images);
  std::vector<std::string> names;
  for (const auto& [name, tokens] : cut_captions_) {
    problems.add(fmt::format("{}: expected at most {} tokens, got {}", name, text_->limit(), tokens));
    if (names.size() < kNamed) names.push_back(fmt::format("{} ({} tokens)", name, tokens));
  }
  if (request_.diffusion.pictures.long_prompts == "error") problems.raise_if_any("shorten these captions, or raise --prompt-windows");
  if (cut_captions_.size() > kNamed) names.push_back(fmt::format("{} more", cut_captions_.size() - kNamed));
  const bool has_room = request_.diffusion.prompt_windows != 0 && request_.diffusion.prompt_windows < kMostWindows;
  log(LogLevel::warning, "captions",
      fmt::format("tokens after the first {} are cut in the captions of {}; {}", text_->limit(), fmt::join(names, ", "),
                  has_room ? "--prompt-windows 0 gives them room" : "shorten them"));
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

std::vector<std::string> DiffusionJob::known_captions() const {
  const data::CaptionOptions& options = request_.diffusion.pictures.caption;
  if (captions_vary(options)) return {};
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
  if (grid_ && !trains_text_) grid_->encode();
  if (trainee_.method == "full") return;  // all is saved in the end
  if (grid_) {
    pipeline.vae->release_encoder();
  } else {
    pipeline.vae.reset();
  }
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

void DiffusionJob::draw_samples(int64_t step, bool last, const StopToken* stop, const ProgressSink& progress) {
  grid_->draw(step, static_cast<double>(step) / static_cast<double>(steps_per_epoch()), last, stop, progress);
}

Json DiffusionJob::notes() const {
  Json cut = Json::array();
  for (const auto& [name, tokens] : cut_captions_)
    cut.push_back({{"name", name}, {"tokens", static_cast<int64_t>(tokens)}, {"limit", text_->limit()}});
  return cut.empty() ? Json::object() : Json{{"cut_captions", cut}};
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
  Json description = describe_run(request_, {trainee_.method, request_.model, trainee_.unet_fingerprint, request_.pictures->report.hash},
                                  resolved(request_.diffusion), result);
  description["kind"] = "diffusion";
  description["held_out"] = held_out();
  description.update(notes());
  if (!trainee_.adapters.empty()) description["adapter"] = trainee_.adapters.front().second.config.to_json();
  return description;
}

fs::path DiffusionJob::save(const fs::path& out, const Json& description) const {
  return save_result(out, request_, trainee_, description);
}

}  // namespace lowrank::train
