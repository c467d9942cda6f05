#include "lowrank/data/images/image_set.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <map>
#include <set>
#include <thread>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/base/hash.h"

namespace lowrank::data {

namespace {

/// What reading one picture gave.
struct Reading {
  Size size;
  std::string content_hash, mask_hash, error;
  std::vector<std::string> notes;
  bool has_mask = false;
};

Reading read_one(const ImageSample& sample, const ReadOptions& options) {
  Reading reading;
  try {
    const MappedFile file(sample.path);
    const Picture picture = decode_picture(file.bytes(), sample.path.string(), options);
    reading.size = picture.size;
    reading.notes = picture.notes;
    reading.content_hash = Sha256().update(file.bytes()).hex();
    reading.has_mask = !picture.alpha.empty() && !sample.is_prior;
    if (sample.mask.empty()) return reading;
    const MappedFile mask(sample.mask);
    const Size size = decode_picture(mask.bytes(), sample.mask.string(), options).size;
    check(size == picture.size, ErrorKind::file_format, sample.mask.string(), "expected a mask of {}, the size of {}, got {}",
          to_string(picture.size), sample.name, to_string(size));
    reading.mask_hash = Sha256().update(mask.bytes()).hex();
    reading.has_mask = true;
  } catch (const Error& error) {
    reading.error = fmt::format("{}: {}{}", error.where(), error.problem(), error.hint().empty() ? "" : "; " + error.hint());
  }
  return reading;
}

std::vector<Reading> read_all(const std::vector<ImageSample>& samples, const ImageDataOptions& options, const ProgressSink& progress) {
  const ReadOptions reading = read_options(options);
  std::vector<Reading> readings(samples.size());
  std::atomic<size_t> next = 0;
  const auto work = [&](bool reports) {
    for (size_t at = next++; at < samples.size(); at = next++) {
      readings[at] = read_one(samples[at], reading);
      if (reports && progress) progress({"read pictures", static_cast<int64_t>(at), static_cast<int64_t>(samples.size()), "pictures", {}});
    }
  };
  const size_t wanted = options.threads > 0 ? static_cast<size_t>(options.threads) : std::max(1U, std::thread::hardware_concurrency());
  std::vector<std::future<void>> helpers;  // their destructors wait, and get() hands on what they threw
  for (size_t i = 1; i < std::min(wanted, samples.size()); ++i) helpers.push_back(std::async(std::launch::async, work, false));
  work(true);
  for (auto& helper : helpers) helper.get();
  // libvips' account of a failure is shared between threads: read the broken ones again, alone, for the true one.
  for (size_t at = 0; at < samples.size(); ++at) {
    if (!readings[at].error.empty()) readings[at] = read_one(samples[at], reading);
  }
  const auto total = static_cast<int64_t>(samples.size());
  if (progress) progress({"read pictures", total, total, "pictures", {}});
  return readings;
}

void sort_down(std::vector<NamedFigure>& figures) {
  std::stable_sort(figures.begin(), figures.end(), [](const auto& a, const auto& b) { return a.figure > b.figure; });
}

void report_sizes(const ImageSet& set, ImageReport& report) {
  std::map<Size, BucketCount> buckets;
  for (const auto& entry : set.entries) {
    auto& bucket = buckets[entry.placement.bucket];
    bucket.size = entry.placement.bucket;
    ++bucket.pictures;
    bucket.draws += entry.sample.repeats;
    report.draws += entry.sample.repeats;
    const double cropped = entry.placement.cropped(), scale = entry.placement.scale(entry.size);
    report.mean_cropped += cropped / static_cast<double>(set.size());
    if (cropped > 0.1) report.cropped.push_back({entry.sample.name, cropped});
    if (scale > 1) report.upscaled.push_back({entry.sample.name, scale});
  }
  for (auto& [size, bucket] : buckets) report.buckets.push_back(bucket);
  sort_down(report.cropped);
  sort_down(report.upscaled);
}

void report_folders(const ImageSet& set, ImageReport& report) {
  std::map<std::pair<bool, std::string>, FolderCount> counts;
  for (const auto& entry : set.entries) {
    const std::string parent = std::filesystem::path(entry.sample.name).parent_path().generic_string();
    const std::string name = (entry.sample.is_prior ? "prior: " : "") + (parent.empty() ? "." : parent);
    auto& count = counts[{entry.sample.is_prior, name}];
    count = {name, count.pictures + 1, entry.sample.repeats};
  }
  for (auto& [key, count] : counts) report.folders.push_back(std::move(count));
}

void report_duplicates(const ImageSet& set, ImageReport& report) {
  std::map<std::string, std::vector<std::string>> by_content;
  for (const auto& entry : set.entries) by_content[entry.content_hash].push_back(entry.sample.name);
  for (auto& [hash, names] : by_content) {
    if (names.size() > 1) report.duplicates.push_back(std::move(names));
  }
  std::sort(report.duplicates.begin(), report.duplicates.end());
}

void report_captions(const ImageSet& set, const ImageDataOptions& options, const TokenCounter& counter, ImageReport& report) {
  Problems problems(ErrorKind::file_format, options.images);
  if (counter.count) report.token_limit = counter.limit;
  for (const auto& entry : set.entries) {
    const auto& [path, name, caption, label, mask, repeats, is_prior] = entry.sample;
    const std::string shown = plain_caption(caption, options.caption);
    if (caption.find('\n') != std::string::npos) report.several_lines.push_back(name);
    if (report.captions.size() < 3 && report.layout != "classes") report.captions.push_back(shown);
    const int64_t tokens = counter.count ? counter.count(shown) : 0;
    if (!counter.count || tokens <= counter.limit) continue;
    report.long_prompts.push_back({name, static_cast<double>(tokens)});
    if (options.long_prompts == "error") problems.add(fmt::format("{}: expected at most {} tokens, got {}", name, counter.limit, tokens));
  }
  sort_down(report.long_prompts);
  problems.raise_if_any("shorten these captions, or choose --long-prompts report");
}

std::string hash_set(const ImageSet& set) {
  Sha256 hash;
  const auto add = [&hash](std::string_view text) { hash.update(fmt::format("{}:", text.size())).update(text); };
  for (const auto& entry : set.entries) {
    for (const auto* text : {&entry.sample.name, &entry.content_hash, &entry.mask_hash, &entry.sample.caption, &entry.sample.label})
      add(*text);
    hash.update(fmt::format("{} {};", entry.sample.repeats, entry.sample.is_prior));
  }
  return hash.hex();
}

void set_labels(ImageSet& set, ImageReport& report) {
  std::map<std::string, int64_t> counts;
  for (const auto& entry : set.entries) {
    if (!entry.sample.label.empty()) ++counts[entry.sample.label];
  }
  for (const auto& [label, pictures] : counts) {
    set.labels.push_back(label);
    report.classes.push_back({label, pictures});
  }
  for (auto& entry : set.entries) {
    const auto found = std::find(set.labels.begin(), set.labels.end(), entry.sample.label);
    if (found != set.labels.end()) entry.label = found - set.labels.begin();
  }
}

/// The placement; a picture that fits no bucket is added to `problems`.
Placement place(const Buckets& buckets, Size size, const std::string& name, Problems& problems) {
  try {
    return buckets.place(size, name);
  } catch (const Error& error) {
    problems.add(fmt::format("{}: {}", error.where(), error.problem()));
    return {};
  }
}

ImageReport begin_report(ImageFolder& folder, const ImageDataOptions& options) {
  ImageReport report;
  report.folder = options.images;
  report.layout = folder.layout;
  report.missing_captions = std::move(folder.missing_captions);
  report.empty_captions = std::move(folder.empty_captions);
  report.orphans = std::move(folder.orphans);
  report.missing_masks = std::move(folder.missing_masks);
  report.unused_captions = std::move(folder.unused_captions);
  report.unused_keys = std::move(folder.unused_keys);
  report.other_files = std::move(folder.other_files);
  return report;
}

/// Decodes and places the samples, and reports what is broken.
void add_samples(ImageSet& set, std::vector<ImageSample> samples, const ImageDataOptions& options, const ProgressSink& progress) {
  const Buckets buckets(bucket_options(options));
  const auto readings = read_all(samples, options, progress);
  ImageReport& report = set.report;
  Problems broken(ErrorKind::file_format, options.images), small(ErrorKind::invalid_argument, options.images);
  for (size_t i = 0; i < readings.size(); ++i) {
    const Reading& reading = readings[i];
    ImageSample& sample = samples[i];
    if (!reading.error.empty()) {
      report.broken.push_back(reading.error);
      broken.add(reading.error);
      continue;
    }
    for (const auto& note : reading.notes) report.notes.push_back(fmt::format("{}: {}", sample.name, note));
    ++(sample.is_prior ? report.prior_pictures : report.pictures);
    report.masks += reading.has_mask;
    const auto placement = place(buckets, reading.size, sample.name, small);
    set.entries.push_back({std::move(sample), reading.size, placement, reading.content_hash, reading.mask_hash, -1});
  }
  small.raise_if_any("allow upscaling, lower --bucket-step, or remove these pictures");
  if (options.broken_pictures == "error") broken.raise_if_any("mend or remove them; --broken-pictures skip leaves them out");
  check(report.pictures > 0, ErrorKind::invalid_argument, options.images, "expected at least one readable picture, got none");
}

}  // namespace

BucketBatcher ImageSet::batcher(const ImageBatchOptions& options) const {
  std::vector<Size> buckets;
  std::vector<int64_t> repeats;
  for (const auto& entry : entries) {
    buckets.push_back(entry.placement.bucket);
    repeats.push_back(entry.sample.repeats);
  }
  return {buckets, repeats, options};
}

Recipe ImageSet::recipe(int64_t entry, const ImageDataOptions& options, bool mirrored) const {
  return {entries[static_cast<size_t>(entry)].placement, parse_color(options.background), mirrored, options.masks == "alpha"};
}

PreparedPicture ImageSet::prepare(int64_t entry, const ImageDataOptions& options, bool mirrored) const {
  const ImageEntry& item = entries[static_cast<size_t>(entry)];
  return prepare_picture(item.sample, item.size, recipe(entry, options, mirrored), read_options(options));
}

ImageSet read_samples(std::vector<ImageSample> samples, const ImageDataOptions& options, const ProgressSink& progress) {
  ImageSet set;
  add_samples(set, std::move(samples), options, progress);
  return set;
}

ImageSet read_image_set(const ImageDataOptions& options, const TokenCounter& counter, const ProgressSink& progress) {
  ImageFolder folder = scan_folder(options);
  ImageSet set;
  ImageReport& report = set.report = begin_report(folder, options);
  add_samples(set, std::move(folder.samples), options, progress);
  set_labels(set, report);
  report_folders(set, report);
  report_sizes(set, report);
  report_duplicates(set, report);
  report_captions(set, options, counter, report);
  report.hash = hash_set(set);
  return set;
}

}  // namespace lowrank::data
