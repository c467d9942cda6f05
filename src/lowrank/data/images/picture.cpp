#include "lowrank/data/images/picture.h"

#include <cstring>

#include "lowrank/base/error.h"
#include "lowrank/base/file.h"
#include "lowrank/data/images/vips.h"

namespace lowrank::data {

namespace {

/// An image with its header read, pixels still undecoded.
struct Opened {
  vips::Image image;
  PictureHeader header;
};

[[noreturn]] void refuse_damaged(PictureKind kind, const std::string& where) {
  fail(ErrorKind::file_format, where,
       fmt::format("expected a whole {} picture, got a truncated or damaged one ({})", to_string(kind), vips::take_error()),
       "copy it anew, or remove it");
}

/// libvips' loader of just this kind: its own choice may fall back to programs that read a hundred formats.
vips::Image load(std::span<const std::byte> bytes, PictureKind kind) {
  using Loader = int (*)(void*, size_t, VipsImage**, ...);
  constexpr std::array<Loader, 5> kLoaders = {vips_jpegload_buffer, vips_pngload_buffer, vips_webpload_buffer, vips_heifload_buffer,
                                              vips_gifload_buffer};  // in PictureKind's order
  return vips::run([&](VipsImage** out) {
    return kLoaders[static_cast<size_t>(kind)](const_cast<std::byte*>(bytes.data()), bytes.size(), out, "fail_on", VIPS_FAIL_ON_ERROR,
                                               nullptr);
  });
}

[[noreturn]] void refuse_animated(PictureKind kind, const std::string& frames, const std::string& where) {
  fail(ErrorKind::file_format, where, fmt::format("expected a still picture, got an animated {}{}", to_string(kind), frames),
       "save the frame that you want as PNG");
}

Opened open(std::span<const std::byte> bytes, const std::string& where, const ReadOptions& options) {
  vips::start();
  Opened opened;
  PictureHeader& header = opened.header;
  header.kind = sniff_picture(bytes, where);
  if (has_hidden_animation(bytes, header.kind)) refuse_animated(header.kind, "", where);
  opened.image = load(bytes, header.kind);
  if (!opened.image) refuse_damaged(header.kind, where);
  VipsImage* image = opened.image.get();
  header.size = {vips_image_get_width(image), vips_image_get_height(image)};
  if (vips_image_get_orientation_swap(image)) std::swap(header.size.width, header.size.height);
  header.has_alpha = vips_image_hasalpha(image);
  if (const int pages = vips_image_get_n_pages(image); pages > 1) refuse_animated(header.kind, fmt::format(" of {} frames", pages), where);
  if (header.size.area() > options.max_pixels) {
    fail(ErrorKind::invalid_argument, where,
         fmt::format("expected at most {:.0f} megapixels, got {} = {:.0f} megapixels", static_cast<double>(options.max_pixels) / 1e6,
                     to_string(header.size), static_cast<double>(header.size.area()) / 1e6),
         "scale it down, or raise --max-megapixels");
  }
  return opened;
}

/// False for a profile that is damaged or made for another number of channels: libvips would quietly take its own instead.
bool has_usable_profile(VipsImage* image) {
  const void* profile = nullptr;
  size_t size = 0;
  return vips_image_get_blob(image, VIPS_META_ICC_NAME, &profile, &size) == 0 && vips_icc_is_compatible_profile(image, profile, size);
}

/// The colour channels of `image` as 8-bit sRGB, or an empty Image (see vips::take_error). CMYK without a profile stays.
vips::Image to_srgb(VipsImage* image, std::vector<std::string>& notes) {
  if (vips_image_get_typeof(image, VIPS_META_ICC_NAME) != 0) {
    if (has_usable_profile(image)) {
      return vips::run([&](VipsImage** out) {
        return vips_icc_transform(image, out, "srgb", "embedded", TRUE, "intent", VIPS_INTENT_PERCEPTUAL, "depth", 8, nullptr);
      });
    }
    vips::take_error();
    notes.emplace_back("its colour profile is unusable and was ignored");
  }
  if (vips_image_get_interpretation(image) == VIPS_INTERPRETATION_CMYK) {
    return vips::run([&](VipsImage** out) { return vips_copy(image, out, nullptr); });
  }
  auto converted = vips::run([&](VipsImage** out) { return vips_colourspace(image, out, VIPS_INTERPRETATION_sRGB, nullptr); });
  if (!converted) return {};
  return vips::run([&](VipsImage** out) { return vips_cast_uchar(converted.get(), out, nullptr); });
}

/// All samples in order; decoding happens here. Empty when it fails.
std::vector<uint8_t> samples_of(VipsImage* image) {
  size_t size = 0;
  void* memory = vips_image_write_to_memory(image, &size);
  if (memory == nullptr) return {};
  const auto* first = static_cast<const uint8_t*>(memory);
  std::vector<uint8_t> samples(first, first + size);
  g_free(memory);
  return samples;
}

std::vector<uint8_t> rgb_of_cmyk(const std::vector<uint8_t>& cmyk) {
  std::vector<uint8_t> rgb;
  rgb.reserve(cmyk.size() / 4 * 3);
  for (size_t i = 0; i + 3 < cmyk.size(); i += 4) {
    for (size_t channel = 0; channel < 3; ++channel) {
      rgb.push_back(static_cast<uint8_t>(((255 - cmyk[i + channel]) * (255 - cmyk[i + 3]) + 127) / 255));
    }
  }
  return rgb;
}

void lay_over(std::vector<uint8_t>& rgb, const std::vector<uint8_t>& alpha, const Color& background) {
  for (size_t pixel = 0; pixel < alpha.size(); ++pixel) {
    const int opacity = alpha[pixel];
    for (size_t channel = 0; channel < 3; ++channel) {
      uint8_t& value = rgb[3 * pixel + channel];
      value = static_cast<uint8_t>((value * opacity + background[channel] * (255 - opacity) + 127) / 255);
    }
  }
}

vips::Image bands(VipsImage* image, int first, int number) {
  return vips::run([&](VipsImage** out) { return vips_extract_band(image, out, first, "n", number, nullptr); });
}

}  // namespace

std::string to_string(Size size) { return fmt::format("{}x{}", size.width, size.height); }

Color parse_color(std::string_view text) {
  if (text == "white") return {255, 255, 255};
  if (text == "black") return {0, 0, 0};
  if (text == "grey") return {128, 128, 128};
  const bool is_short = text.size() == 4;
  const bool good = !text.empty() && text[0] == '#' && (is_short || text.size() == 7) &&
                    text.find_first_not_of("0123456789abcdefABCDEF", 1) == std::string_view::npos;
  check(good, ErrorKind::invalid_argument, "color", "expected '#rrggbb', '#rgb', white, black or grey, got '{}'", text);
  Color color{};
  for (size_t i = 0; i < 3; ++i) {
    const auto digits = is_short ? std::string(2, text[1 + i]) : std::string(text.substr(1 + 2 * i, 2));
    color[i] = static_cast<uint8_t>(std::stoi(digits, nullptr, 16));
  }
  return color;
}

PictureHeader read_header(std::span<const std::byte> bytes, const std::string& where, const ReadOptions& options) {
  return open(bytes, where, options).header;
}

Picture decode_picture(std::span<const std::byte> bytes, const std::string& where, const ReadOptions& options) {
  const Opened opened = open(bytes, where, options);
  const auto need = [&](vips::Image image) {
    if (!image) refuse_damaged(opened.header.kind, where);
    return image;
  };
  Picture picture;
  picture.size = opened.header.size;
  auto upright = need(vips::run([&](VipsImage** out) { return vips_autorot(opened.image.get(), out, nullptr); }));
  // Decoded once, here: alpha and colour are taken from memory, and damage shows before any colour is converted.
  upright = need(vips::Image(vips_image_copy_memory(upright.get())));
  const int colours = vips_image_get_bands(upright.get()) - (opened.header.has_alpha ? 1 : 0);
  std::vector<uint8_t> alpha;
  if (opened.header.has_alpha) {
    const auto band = need(bands(upright.get(), colours, 1));
    const auto narrow =
        need(vips::run([&](VipsImage** out) { return vips_cast(band.get(), out, VIPS_FORMAT_UCHAR, "shift", TRUE, nullptr); }));
    alpha = samples_of(narrow.get());
  }
  const auto colour = need(to_srgb(need(bands(upright.get(), 0, colours)).get(), picture.notes));
  picture.rgb = samples_of(colour.get());
  if (vips_image_get_bands(colour.get()) == 4) picture.rgb = rgb_of_cmyk(picture.rgb);
  check(picture.rgb.size() == static_cast<size_t>(picture.size.area()) * 3, ErrorKind::internal, where,
        "expected 3 samples for each pixel of {}, got {} samples", to_string(picture.size), picture.rgb.size());
  lay_over(picture.rgb, alpha, options.background);
  if (options.keep_alpha) picture.alpha = std::move(alpha);
  return picture;
}

Picture read_picture(const std::filesystem::path& path, const ReadOptions& options) {
  const MappedFile file(path);
  return decode_picture(file.bytes(), path.string(), options);
}

std::string encode_png(const Picture& picture) {
  vips::start();
  const vips::Image image(vips_image_new_from_memory(picture.rgb.data(), picture.rgb.size(), static_cast<int>(picture.size.width),
                                                     static_cast<int>(picture.size.height), 3, VIPS_FORMAT_UCHAR));
  void* buffer = nullptr;
  size_t size = 0;
  const bool good = image && vips_pngsave_buffer(image.get(), &buffer, &size, "strip", TRUE, nullptr) == 0;
  check(good, ErrorKind::internal, "png", "expected to encode a picture of {}, got: {}", to_string(picture.size), vips::take_error());
  std::string bytes(static_cast<const char*>(buffer), size);
  g_free(buffer);
  return bytes;
}

void write_png(const std::filesystem::path& path, const Picture& picture) { write_file_atomic(path, encode_png(picture)); }

}  // namespace lowrank::data
