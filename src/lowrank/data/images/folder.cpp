#include "lowrank/data/images/folder.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/data/images/metadata.h"
#include "lowrank/data/normalize.h"
#include "lowrank/text/utf8.h"

namespace lowrank::data {

namespace {

namespace fs = std::filesystem;

constexpr const char* kMetadata = "metadata.jsonl";

/// The files below a folder, by what they are.
struct Listing {
  fs::path root;
  std::vector<std::string> pictures, other;
  std::map<std::string, std::vector<std::string>> captions;  // by name without ending
  bool has_metadata = false;
};

std::string without_ending(const std::string& name) { return fs::path(name).replace_extension().generic_string(); }

Listing list_files(const fs::path& root, const ImageDataOptions& options) {
  check(fs::is_directory(root), ErrorKind::invalid_argument, root.string(), "expected a folder, got {}",
        fs::exists(root) ? "a file" : "nothing");
  Listing listing{root, {}, {}, {}, false};
  const auto& endings = options.caption_extensions;
  const bool has_mask_folder = !options.masks.empty() && options.masks != "alpha";
  for (auto entry = fs::recursive_directory_iterator(root); entry != fs::recursive_directory_iterator(); ++entry) {
    const std::string name = entry->path().lexically_relative(root).generic_string();
    const bool is_hidden = entry->path().filename().string().starts_with('.');
    if (entry->is_directory()) {
      const bool is_masks = has_mask_folder && fs::exists(options.masks) && fs::equivalent(entry->path(), options.masks);
      if (is_hidden) listing.other.push_back(name + "/");
      if (is_hidden || is_masks) entry.disable_recursion_pending();
    } else if (is_hidden) {
      listing.other.push_back(name);
    } else if (has_picture_ending(entry->path())) {
      listing.pictures.push_back(name);
    } else if (std::find(endings.begin(), endings.end(), entry->path().extension().string()) != endings.end()) {
      listing.captions[without_ending(name)].push_back(name);
    } else if (name == kMetadata) {
      listing.has_metadata = true;
    } else {
      listing.other.push_back(name);
    }
  }
  check(!listing.pictures.empty(), ErrorKind::invalid_argument, root.string(),
        "expected pictures (.jpg .jpeg .png .webp .avif .gif), got none");
  std::sort(listing.pictures.begin(), listing.pictures.end());
  std::sort(listing.other.begin(), listing.other.end());
  for (auto& [stem, names] : listing.captions) std::sort(names.begin(), names.end());
  return listing;
}

/// "5_dog" -> (5, "dog"); false for names of another form.
bool parse_repeats(const std::string& folder, int64_t& repeats, std::string& rest) {
  const auto [end, error] = std::from_chars(folder.data(), folder.data() + folder.size(), repeats);
  if (error != std::errc() || end == folder.data() + folder.size() || *end != '_' || repeats < 1) return false;
  rest.assign(end + 1, folder.data() + folder.size());
  return true;
}

/// Repeats and class words from the nearest folder named N_words; without one, 1 and the nearest folder's name.
std::pair<int64_t, std::string> folder_words(const std::string& name) {
  const fs::path folder = fs::path(name).parent_path();
  for (fs::path path = folder; !path.empty(); path = path.parent_path()) {
    int64_t repeats = 1;
    std::string words;
    if (parse_repeats(path.filename().string(), repeats, words)) return {repeats, words};
  }
  return {1, folder.filename().string()};
}

class Scan {
 public:
  Scan(const Listing& listing, const ImageDataOptions& options, ImageFolder& out, Problems& problems)
      : listing_(listing), options_(options), out_(out), problems_(problems) {}

  void run(bool is_prior) {
    const std::string layout = options_.layout != "auto" ? options_.layout : listing_.has_metadata ? "metadata" : "captions";
    out_.layout = is_prior ? out_.layout : layout;
    Metadata metadata;
    if (layout == "metadata") metadata = read_metadata(listing_.root / kMetadata);
    for (const auto& name : listing_.pictures) {
      ImageSample sample{listing_.root / name, name, {}, {}, {}, 1, is_prior};
      if (layout == "classes") {
        set_label(sample);
      } else {
        auto [repeats, words] = folder_words(name);
        sample.repeats = repeats;
        const auto caption = layout == "metadata" ? from_metadata(metadata, name) : from_file(name);
        set_caption(sample, caption, words);
      }
      if (!is_prior) set_mask(sample);
      out_.samples.push_back(std::move(sample));
    }
    find_orphans(layout, metadata);
    out_.unused_keys.insert(out_.unused_keys.end(), metadata.unused_keys.begin(), metadata.unused_keys.end());
    out_.other_files.insert(out_.other_files.end(), listing_.other.begin(), listing_.other.end());
    if (listing_.has_metadata && layout != "metadata") out_.other_files.emplace_back(kMetadata);
  }

 private:
  struct Caption {
    bool found = false;
    std::string text;
  };

  Caption from_metadata(const Metadata& metadata, const std::string& name) const {
    const auto row = metadata.captions.find(name);
    return row == metadata.captions.end() ? Caption{} : Caption{true, row->second};
  }

  Caption from_file(const std::string& name) {
    const auto files = listing_.captions.find(without_ending(name));
    if (files == listing_.captions.end()) return {};
    if (files->second.size() > 1) problems_.add(fmt::format("{}: expected one caption, got {}", name, fmt::join(files->second, " and ")));
    std::string text = read_file(listing_.root / files->second.front());
    if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
    if (!text::is_utf8(text)) problems_.add(fmt::format("{}: expected UTF-8 text", files->second.front()));
    return {true, std::string(trim(text))};
  }

  void set_caption(ImageSample& sample, const Caption& caption, const std::string& words) {
    sample.caption = caption.text;
    if (caption.found) {
      if (caption.text.empty()) out_.empty_captions.push_back(sample.name);
      return;
    }
    out_.missing_captions.push_back(sample.name);
    if (options_.missing_captions == "folder") sample.caption = words;
    const bool is_helped = options_.missing_captions == "empty" || (options_.missing_captions == "folder" && !words.empty());
    if (!is_helped) problems_.add(fmt::format("{}: no caption (expected {}{})", sample.name, without_ending(sample.name), first_ending()));
  }

  std::string first_ending() const { return options_.caption_extensions.empty() ? ".txt" : options_.caption_extensions.front(); }

  void set_label(ImageSample& sample) {
    const size_t slash = sample.name.find('/');
    if (slash == std::string::npos) {
      problems_.add(fmt::format("{}: lies outside the class folders", sample.name));
    } else {
      sample.label = sample.name.substr(0, slash);
    }
  }

  void set_mask(ImageSample& sample) {
    if (options_.masks.empty() || options_.masks == "alpha") return;
    for (const char* ending : {".png", ".webp", ".jpg", ".jpeg", ".avif"}) {
      const fs::path path = fs::path(options_.masks) / (without_ending(sample.name) + ending);
      if (!fs::exists(path)) continue;
      sample.mask = path;
      return;
    }
    out_.missing_masks.push_back(sample.name);
    if (options_.missing_masks == "error") problems_.add(fmt::format("{}: no mask of that name in {}", sample.name, options_.masks));
  }

  void add_orphan(const std::string& text) {
    out_.orphans.push_back(text);
    if (options_.orphans == "error") problems_.add(text);
  }

  void find_orphans(const std::string& layout, const Metadata& metadata) {
    for (const auto& [file, line] : metadata.lines) {
      if (!std::binary_search(listing_.pictures.begin(), listing_.pictures.end(), file)) {
        add_orphan(fmt::format("{}:{}: no such picture: {}", kMetadata, line, file));
      }
    }
    std::vector<std::string> stems;
    for (const auto& name : listing_.pictures) stems.push_back(without_ending(name));
    std::sort(stems.begin(), stems.end());
    for (const auto& [stem, names] : listing_.captions) {
      const bool has_picture = std::binary_search(stems.begin(), stems.end(), stem);
      for (const auto& name : names) {
        if (layout == "captions" && !has_picture) add_orphan(fmt::format("{}: a caption without picture", name));
        if (layout != "captions") out_.unused_captions.push_back(name);
      }
    }
  }

  const Listing& listing_;
  const ImageDataOptions& options_;
  ImageFolder& out_;
  Problems& problems_;
};

void find_orphan_masks(const ImageDataOptions& options, ImageFolder& out, Problems& problems) {
  if (options.masks.empty() || options.masks == "alpha") return;
  check(fs::is_directory(options.masks), ErrorKind::invalid_argument, "masks", "expected 'alpha' or a folder, got '{}'", options.masks);
  std::vector<fs::path> used;
  for (const auto& sample : out.samples) used.push_back(sample.mask.lexically_normal());
  std::sort(used.begin(), used.end());
  std::vector<std::string> orphans;
  for (const auto& entry : fs::recursive_directory_iterator(options.masks)) {
    if (entry.is_directory() || std::binary_search(used.begin(), used.end(), entry.path().lexically_normal())) continue;
    orphans.push_back(fmt::format("{}: a mask without picture", entry.path().lexically_relative(options.masks).generic_string()));
  }
  std::sort(orphans.begin(), orphans.end());
  for (auto& orphan : orphans) {
    if (options.orphans == "error") problems.add(orphan);
    out.orphans.push_back(std::move(orphan));
  }
}

}  // namespace

ImageFolder scan_folder(const ImageDataOptions& options) {
  ImageFolder out;
  Problems problems(ErrorKind::file_format, options.images);
  Scan(list_files(options.images, options), options, out, problems).run(false);
  if (!options.prior_images.empty()) Scan(list_files(options.prior_images, options), options, out, problems).run(true);
  find_orphan_masks(options, out, problems);
  problems.raise_if_any("mend the folder; or see --missing-captions, --missing-masks and --orphans");
  return out;
}

}  // namespace lowrank::data
