#include "lowrank/data/images/options.h"

#include <charconv>

#include "lowrank/base/error.h"

namespace lowrank::data {

namespace {

constexpr double kLargest = 1 << 20;

void declare_captions(OptionTable& table, CaptionOptions& caption) {
  const auto add = [&table](const char* name, auto& target, const char* help) -> Option& {
    return table.add(name, target, help).group("Captions");
  };
  add("trigger", caption.trigger, "word that stands for the subject: replaces [trigger], else goes in front of captions without it");
  add("caption-prefix", caption.prefix, "text in front of every caption");
  add("caption-suffix", caption.suffix, "text behind every caption");
  add("caption-dropout", caption.dropout, "chance that a picture is shown without its caption").range(0, 1);
  add("caption-dropout-every", caption.dropout_every_epochs, "every n-th epoch without captions; 0: never").range(0, kLargest);
  add("caption-lines", caption.lines, "which of several lines of a caption is shown").choices({"first", "random"});
  add("caption-separator", caption.separator, "what parts of a caption lie between");
  add("keep-tokens", caption.keep_tokens, "parts in front that are neither shuffled nor dropped").range(0, kLargest);
  add("keep-separator", caption.keep_separator, "mark that ends the fixed parts (and begins them again), such as '|||'");
  add("shuffle-captions", caption.shuffle, "the parts of a caption in a new order each time");
  add("tag-dropout", caption.tag_dropout, "chance that a part of a caption is left out").range(0, 1);
  add("secondary-separator", caption.secondary_separator, "mark between parts that move as one; becomes the separator");
}

int64_t parse_side(std::string_view text, std::string_view whole, std::string_view what) {
  int64_t side = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), side);
  check(error == std::errc() && end == text.data() + text.size() && side >= 1 && side <= 65536, ErrorKind::invalid_argument, what,
        "expected a side such as 512, or 768x512, got '{}'", whole);
  return side;
}

}  // namespace

void declare(OptionTable& table, ImageDataOptions& options) {
  const auto add = [&table](const char* name, auto& target, const char* help) -> Option& {
    return table.add(name, target, help).group("Pictures");
  };
  add("images", options.images, "folder of pictures; folders in it named N_name are shown N times an epoch");
  add("prior-images", options.prior_images, "folder of pictures of the kind as such, to keep what the model knows of it");
  add("layout", options.layout, "where captions come from: files beside pictures, metadata.jsonl, or folders that are classes")
      .choices({"auto", "captions", "metadata", "classes"});
  add("caption-extensions", options.caption_extensions, "endings of caption files");
  add("missing-captions", options.missing_captions, "picture without caption: refuse, show it with none, or with its folder's name")
      .choices({"error", "empty", "folder"});
  add("orphans", options.orphans, "caption or mask without picture: refuse, or name it in the report").choices({"error", "report"});
  add("broken-pictures", options.broken_pictures, "unreadable picture: refuse, or leave it out and name it").choices({"error", "skip"});
  add("long-prompts", options.long_prompts, "caption over the model's length: refuse, or name it in the report")
      .choices({"error", "report"});
  add("masks", options.masks, "where the loss counts: 'alpha' for the pictures' own, or a folder of masks of the same names");
  add("missing-masks", options.missing_masks, "picture without mask: refuse, or count all of it").choices({"error", "full"});
  add("resolution", options.resolution, "side of the square whose area pictures are trained at, or WIDTHxHEIGHT");
  add("bucket", options.bucket, "keep aspect ratios by training at several sizes; off: all cut to the resolution");
  add("no-upscale", options.no_upscale, "never enlarge a picture");
  add("bucket-min", options.bucket_min, "least side of a bucket").range(1, kLargest);
  add("bucket-max", options.bucket_max, "greatest side of a bucket").range(1, kLargest);
  add("bucket-step", options.bucket_step, "sides of buckets are multiples of this").range(1, kLargest);
  add("background", options.background, "colour under transparent pixels: #rrggbb, white, black or grey");
  add("max-megapixels", options.max_megapixels, "larger pictures are refused before they are decoded").range(0.001, 10000);
  add("flip", options.flip, "show every other picture mirrored, at random");
  declare_captions(table, options.caption);
}

Size parse_size(std::string_view text, std::string_view what) {
  const size_t cross = text.find('x');
  const int64_t width = parse_side(text.substr(0, cross), text, what);
  const int64_t height = cross == std::string_view::npos ? width : parse_side(text.substr(cross + 1), text, what);
  return {width, height};
}

BucketOptions bucket_options(const ImageDataOptions& options) {
  return {parse_size(options.resolution, "resolution"),
          options.bucket_min,
          options.bucket_max,
          options.bucket_step,
          options.bucket,
          options.no_upscale};
}

ReadOptions read_options(const ImageDataOptions& options) {
  return {static_cast<int64_t>(options.max_megapixels * 1e6), parse_color(options.background), options.masks == "alpha"};
}

}  // namespace lowrank::data
