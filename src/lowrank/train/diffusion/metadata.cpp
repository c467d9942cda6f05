// kohya's training record (sd-scripts, train_network.py): what image tools show of how a file was made. Values are text.
#include <set>

#include "lowrank/base/json.h"
#include "lowrank/train/diffusion/trainee.h"

namespace lowrank::train {

namespace {

std::string text_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "True" : "False";
  if (value.is_number_float() && value.get<double>() == 0) return "0.0";
  return value.is_null() ? "None" : value.dump();
}

std::string folder_of(const data::ImageEntry& entry) {
  const std::string parent = std::filesystem::path(entry.sample.name).parent_path().generic_string();
  return parent.empty() ? "." : parent;
}

/// How often each part of the captions occurs, by folder.
Json tag_frequency(const data::ImageSet& set, const data::CaptionOptions& options) {
  Json folders = Json::object();
  for (const auto& entry : set.entries) {
    const std::string caption = data::plain_caption(entry.sample.caption, options);
    Json& tags = folders[folder_of(entry)];
    for (size_t begin = 0; begin <= caption.size();) {
      const size_t end = options.separator.empty() ? caption.size() : std::min(caption.find(options.separator, begin), caption.size());
      size_t first = begin;
      while (first < end && caption[first] == ' ') ++first;
      if (first < end) {
        Json& count = tags[caption.substr(first, end - first)];
        count = count.is_null() ? 1 : count.get<int64_t>() + 1;
      }
      begin = end + std::max<size_t>(1, options.separator.size());
    }
  }
  return folders;
}

Json dataset_folders(const data::ImageSet& set, bool prior) {
  Json folders = Json::object();
  for (const auto& entry : set.entries) {
    if (entry.sample.is_prior != prior) continue;
    Json& folder = folders[folder_of(entry)];
    folder["n_repeats"] = entry.sample.repeats;
    folder["img_count"] = folder.value("img_count", 0) + 1;
  }
  return folders;
}

Json bucket_info(const data::ImageSet& set) {
  Json buckets = Json::object();
  int64_t number = 0;
  for (const auto& bucket : set.report.buckets) {
    buckets[fmt::format("{}", number++)] = {{"resolution", {bucket.size.width, bucket.size.height}}, {"count", bucket.draws}};
  }
  return {{"buckets", buckets}};
}

}  // namespace

io::Metadata training_metadata(const DiffusionRequest& request, const Json& description) {
  const TrainOptions& options = request.options;
  const DiffusionTrainOptions& diffusion = request.diffusion;
  const data::ImageReport& report = request.pictures->report;
  const Json& result = description.at("result");
  const double text_rate = diffusion.text_encoder_learning_rate;
  const Json rate = result.value("learning_rate", options.learning_rate);
  const Json values = {{"ss_output_name", request.out.filename().string()},
                       {"ss_sd_model_name", request.model.filename().string()},
                       {"ss_learning_rate", rate},
                       {"ss_unet_lr", rate},
                       {"ss_text_encoder_lr", text_rate > 0 ? Json(text_rate) : Json()},
                       {"ss_num_train_images", report.draws},
                       {"ss_num_reg_images", report.prior_pictures},
                       {"ss_num_epochs", options.epochs},
                       {"ss_batch_size_per_device", options.batch_size},
                       {"ss_total_batch_size", options.batch_size * options.gradient_accumulation},
                       {"ss_gradient_accumulation_steps", options.gradient_accumulation},
                       {"ss_gradient_checkpointing", diffusion.recompute},
                       {"ss_steps", result.value("steps", int64_t{0})},
                       {"ss_max_train_steps", result.value("steps", int64_t{0})},
                       {"ss_lr_scheduler", options.schedule},
                       {"ss_optimizer", "AdamW"},
                       {"ss_max_grad_norm", options.max_grad_norm},
                       {"ss_seed", options.seed},
                       {"ss_mixed_precision", options.dtype},
                       {"ss_resolution", diffusion.pictures.resolution},
                       {"ss_enable_bucket", diffusion.pictures.bucket},
                       {"ss_min_bucket_reso", diffusion.pictures.bucket_min},
                       {"ss_max_bucket_reso", diffusion.pictures.bucket_max},
                       {"ss_bucket_no_upscale", diffusion.pictures.no_upscale},
                       {"ss_flip_aug", diffusion.pictures.flip},
                       {"ss_shuffle_caption", diffusion.pictures.caption.shuffle},
                       {"ss_keep_tokens", diffusion.pictures.caption.keep_tokens},
                       {"ss_caption_dropout_rate", diffusion.pictures.caption.dropout},
                       {"ss_caption_tag_dropout_rate", diffusion.pictures.caption.tag_dropout},
                       {"ss_clip_skip", diffusion.clip_skip > 0 ? Json(diffusion.clip_skip + 1) : Json()},
                       {"ss_cache_latents", true},
                       {"ss_prior_loss_weight", diffusion.prior_weight},
                       {"ss_min_snr_gamma", diffusion.diffusion.min_snr_gamma > 0 ? Json(diffusion.diffusion.min_snr_gamma) : Json()},
                       {"ss_noise_offset", diffusion.diffusion.noise_offset},
                       {"ss_ip_noise_gamma", diffusion.diffusion.ip_noise_gamma},
                       {"ss_zero_terminal_snr", diffusion.diffusion.zero_terminal_snr},
                       {"ss_loss_type", diffusion.diffusion.loss_type},
                       {"ss_dataset_dirs", dataset_folders(*request.pictures, false)},
                       {"ss_reg_dataset_dirs", dataset_folders(*request.pictures, true)},
                       {"ss_bucket_info", bucket_info(*request.pictures)},
                       {"ss_tag_frequency", tag_frequency(*request.pictures, diffusion.pictures.caption)}};
  io::Metadata metadata;
  for (const auto& [key, value] : values.items()) metadata[key] = text_of(value);
  metadata["ss_v2"] = "False";
  return metadata;
}

}  // namespace lowrank::train
