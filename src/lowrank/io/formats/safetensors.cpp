#include "lowrank/io/formats/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utf8proc.h>

#include "lowrank/base/error.h"
#include "lowrank/base/json.h"

namespace lowrank::io {

static_assert(std::endian::native == std::endian::little, "tensor bytes are little-endian and are not swapped");

namespace {

constexpr size_t kLengthBytes = 8;
constexpr std::string_view kMetadataKey = "__metadata__";
// Dtypes of the reference that no part of this program computes with.
constexpr std::array<std::string_view, 7> kUnsupported{"C64", "F4", "F6_E2M3", "F6_E3M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"};

struct Entry {
  std::string name;
  std::optional<DType> dtype;
  std::optional<std::vector<int64_t>> shape;
  std::optional<std::vector<int64_t>> offsets;
};

struct Header {
  Metadata metadata;
  std::vector<Entry> entries;
};

DType parse_dtype(std::string_view text, std::string_view tensor, std::string_view where) {
  std::vector<std::string_view> known;
  for (size_t i = 0; i < kDTypeCount; ++i) {
    known.push_back(to_string(static_cast<DType>(i)));
    if (known.back() == text) return static_cast<DType>(i);
  }
  const bool named = std::find(kUnsupported.begin(), kUnsupported.end(), text) != kUnsupported.end();
  fail(named ? ErrorKind::unsupported : ErrorKind::file_format, where,
       fmt::format("tensor {}: expected a dtype of {}, got {}", quote(tensor), fmt::join(known, ", "), quote(text)));
}

// Reads the header as it is parsed, so that a hostile one costs no more memory than the tensors it names.
class HeaderReader {
 public:
  explicit HeaderReader(std::string_view where) : where_(where) {}
  Header take() { return std::move(header_); }

  bool null() {
    if (level_ == Level::header && key_ == kMetadataKey) return true;  // the reference writes and reads "no metadata" so
    wrong("null");
  }
  bool boolean(bool value) { wrong(value ? "true" : "false"); }
  bool number_float(double, const std::string& text) { wrong(fmt::format("the number {}", quote(text))); }
  bool number_integer(int64_t value) { wrong(fmt::format("the negative number {}", value)); }
  bool binary(std::vector<uint8_t>&) { wrong("binary data"); }

  bool number_unsigned(uint64_t value) {
    if ((level_ != Level::shape && level_ != Level::offsets) || value > INT64_MAX) wrong(fmt::format("the number {}", value));
    (level_ == Level::shape ? entry().shape : entry().offsets)->push_back(static_cast<int64_t>(value));
    return true;
  }

  bool string(std::string& text) {
    if (level_ == Level::metadata) {
      header_.metadata[key_] = std::move(text);
    } else if (level_ == Level::tensor && key_ == "dtype") {
      entry().dtype = parse_dtype(text, entry().name, where_);
    } else {
      wrong(fmt::format("the text {}", quote(text)));
    }
    return true;
  }

  bool start_object(size_t) {
    if (level_ == Level::outside) {
      level_ = Level::header;
    } else if (level_ == Level::header && key_ == kMetadataKey) {
      level_ = Level::metadata;
    } else if (level_ == Level::header) {
      header_.entries.push_back({.name = key_, .dtype = {}, .shape = {}, .offsets = {}});
      level_ = Level::tensor;
    } else {
      wrong("an object");
    }
    return true;
  }

  bool key(std::string& text) {
    key_ = std::move(text);
    if (level_ == Level::header) {
      note_header_key();
    } else if (level_ == Level::metadata) {
      if (header_.metadata.contains(key_)) refuse("metadata key {} is given twice", quote(key_));
    } else {
      note_tensor_key();
    }
    return true;
  }

  bool end_object() {
    if (level_ == Level::tensor) {
      const Entry& done = entry();
      const char* absent = !done.dtype ? "dtype" : !done.shape ? "shape" : !done.offsets ? "data_offsets" : nullptr;
      if (absent != nullptr) refuse("tensor {} lacks {}", quote(done.name), absent);
      const size_t numbers = done.offsets->size();
      if (numbers != 2) refuse("tensor {}: expected data_offsets to hold 2 numbers, got {}", quote(done.name), numbers);
    }
    level_ = level_ == Level::header ? Level::outside : Level::header;
    return true;
  }

  bool start_array(size_t) {
    if (level_ != Level::tensor || key_ == "dtype") wrong("a list");
    level_ = key_ == "shape" ? Level::shape : Level::offsets;
    (level_ == Level::shape ? entry().shape : entry().offsets).emplace();
    return true;
  }

  bool end_array() {
    level_ = Level::tensor;
    return true;
  }

  bool parse_error(size_t byte, const std::string& token, const nlohmann::json::exception&) {
    fail(ErrorKind::file_format, where_, fmt::format("header is not valid JSON at byte {}, near {}", byte, quote(token)));
  }

 private:
  enum class Level { outside, header, metadata, tensor, shape, offsets };

  Entry& entry() { return header_.entries.back(); }

  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> problem, Args&&... args) {
    fail(ErrorKind::file_format, where_, fmt::format(problem, std::forward<Args>(args)...));
  }

  void note_header_key() {
    if (key_ == kMetadataKey) {
      if (metadata_seen_) refuse("{} is given twice", kMetadataKey);
      metadata_seen_ = true;
    } else {
      const std::string problem = name_problem(key_);
      if (!problem.empty()) refuse("tensor name {} {}", quote(key_), problem);
    }
  }

  void note_tensor_key() {
    const Entry& now = entry();
    const bool dtype = key_ == "dtype", shape = key_ == "shape", offsets = key_ == "data_offsets";
    if (!dtype && !shape && !offsets) refuse("tensor {} has the unknown key {}", quote(now.name), quote(key_));
    if ((dtype && now.dtype) || (shape && now.shape) || (offsets && now.offsets)) {
      refuse("tensor {} gives {} twice", quote(now.name), key_);
    }
  }

  [[noreturn]] void wrong(std::string_view got) { refuse("expected {}, got {}", expected(), got); }

  std::string expected() {
    switch (level_) {
      case Level::outside: return "the header to be an object";
      case Level::metadata: return fmt::format("metadata key {} to hold text", quote(key_));
      case Level::shape:
      case Level::offsets: return fmt::format("tensor {}: {} to hold whole numbers up to 2^63-1", quote(entry().name), key_);
      case Level::tensor:
        return fmt::format("tensor {}: {} to be {}", quote(entry().name), key_, key_ == "dtype" ? "text" : "a list of numbers");
      case Level::header: break;
    }
    if (key_ == kMetadataKey) return "__metadata__ to be an object of texts";
    return fmt::format("tensor {} to be an object", quote(key_));
  }

  std::string_view where_;
  Level level_ = Level::outside;
  std::string key_;
  bool metadata_seen_ = false;
  Header header_;
};

std::optional<size_t> first_invalid_utf8(std::string_view text) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (size_t at = 0; at < text.size();) {
    if (bytes[at] < 0x80) {
      ++at;
      continue;
    }
    utf8proc_int32_t point = 0;
    const auto used = utf8proc_iterate(bytes + at, static_cast<utf8proc_ssize_t>(text.size() - at), &point);
    if (used <= 0) return at;
    at += static_cast<size_t>(used);
  }
  return std::nullopt;
}

// The header's text, once its length and first look are right.
std::string_view header_text(std::span<const std::byte> file, std::string_view where) {
  constexpr auto kFormat = ErrorKind::file_format;
  check(file.size() >= kLengthBytes, kFormat, where, "expected at least 8 bytes (the header's length), got {}", file.size());
  uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthBytes);
  if (length > kMaxSafetensorsHeader) {
    fail(kFormat, where, fmt::format("header length {} is over the limit of {} bytes", length, kMaxSafetensorsHeader),
         "is this a safetensors file at all?");
  }
  const size_t rest = file.size() - kLengthBytes;
  if (length > rest) {
    fail(kFormat, where, fmt::format("expected a header of {} bytes, but only {} bytes follow", length, rest), "an incomplete download?");
  }
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kLengthBytes, length);
  check(text.starts_with('{'), kFormat, where, "expected the header to start with '{{', got {}", quote(text.substr(0, 1)));
  const auto invalid = first_invalid_utf8(text);
  check(!invalid, kFormat, where, "header is not UTF-8 at byte {}", invalid.value_or(0));
  // The parser takes NUL for the end of its input and would not see what follows.
  check(text.find('\0') == text.npos, kFormat, where, "header holds a NUL byte at byte {}", text.find('\0'));
  return text;
}

// What is wrong with one tensor, which must begin where the one before it ended; "" when nothing is.
std::string layout_problem(const Entry& entry, int64_t cursor, std::string_view before, size_t data_size, size_t data_start) {
  const int64_t begin = (*entry.offsets)[0], end = (*entry.offsets)[1];
  const auto size = checked_bytes(*entry.dtype, *entry.shape);
  const bool aligned = (data_start + static_cast<size_t>(begin)) % byte_size(*entry.dtype) == 0 || begin == end;
  if (begin == cursor && static_cast<uint64_t>(end) <= data_size && size == end - begin && aligned) return {};

  const std::string name = quote(entry.name);
  const std::string kind = describe(*entry.dtype, *entry.shape);
  if (begin > end) return fmt::format("tensor {}: data_offsets end ({}) before they begin ({})", name, end, begin);
  if (begin < cursor) return fmt::format("tensor {} overlaps tensor {}", name, quote(before));
  if (begin > cursor) return fmt::format("{} bytes before tensor {} belong to no tensor", begin - cursor, name);
  if (static_cast<uint64_t>(end) > data_size) {
    return fmt::format("tensor {} ends at byte {} of the data, but there are only {}; an incomplete download?", name, end, data_size);
  }
  if (!size) return fmt::format("tensor {}: the size of {} overflows", name, kind);
  if (size != end - begin) return fmt::format("tensor {}: {} takes {} bytes, but data_offsets span {}", name, kind, *size, end - begin);
  return fmt::format("tensor {} is unaligned: {} at byte {} of the file; load and save it with safetensors 0.3.1 or newer", name, kind,
                     data_start + static_cast<size_t>(begin));
}

}  // namespace

std::string quote(std::string_view name) {
  constexpr size_t kShown = 80;
  const std::string text = Json(name.substr(0, kShown)).dump(-1, ' ', true, Json::error_handler_t::replace);
  return fmt::format("'{}{}'", std::string_view(text).substr(1, text.size() - 2), name.size() > kShown ? "…" : "");
}

std::string name_problem(std::string_view name) {
  if (name == kMetadataKey) return "is reserved for the metadata";
  if (name.size() > kMaxTensorName) return fmt::format("is {} bytes long, over the limit of {}", name.size(), kMaxTensorName);
  if (first_invalid_utf8(name)) return "is not UTF-8";
  for (size_t i = 0; i < name.size(); ++i) {
    const auto c = static_cast<unsigned char>(name[i]);
    const bool c1 = c == 0xC2 && static_cast<unsigned char>(name[i + 1]) < 0xA0;  // U+0080 to U+009F
    if (c < 0x20 || c == 0x7F || c1) return "holds a control character";
  }
  return {};
}

std::string describe(DType dtype, std::span<const int64_t> shape) {
  constexpr size_t kShown = 8;
  const auto first = shape.first(std::min(shape.size(), kShown));
  return fmt::format("{} [{}{}]", to_string(dtype), fmt::join(first, ", "), shape.size() > kShown ? ", …" : "");
}

std::optional<int64_t> checked_bytes(DType dtype, std::span<const int64_t> shape) {
  // A zero dimension counts as one here, so that strides of an empty tensor cannot overflow either.
  auto extent = static_cast<int64_t>(byte_size(dtype));
  bool empty = false;
  for (const int64_t dimension : shape) {
    if (dimension < 0 || __builtin_mul_overflow(extent, std::max<int64_t>(dimension, 1), &extent)) return std::nullopt;
    empty = empty || dimension == 0;
  }
  return empty ? 0 : extent;
}

Contents parse_safetensors(std::span<const std::byte> file, std::string_view where) {
  const std::string_view text = header_text(file, where);
  HeaderReader reader(where);
  Json::sax_parse(text.begin(), text.end(), &reader);
  Header header = reader.take();
  auto& entries = header.entries;

  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.name < b.name; });
  const auto twice = std::adjacent_find(entries.begin(), entries.end(), [](auto& a, auto& b) { return a.name == b.name; });
  check(twice == entries.end(), ErrorKind::file_format, where, "tensor {} is in the header twice",
        twice == entries.end() ? "" : quote(twice->name));
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return *a.offsets < *b.offsets; });

  const size_t data_start = kLengthBytes + text.size();
  const auto data = file.subspan(data_start);
  Contents contents{std::move(header.metadata), {}};
  contents.tensors.reserve(entries.size());
  int64_t cursor = 0;
  for (Entry& entry : entries) {
    const std::string_view before = contents.tensors.empty() ? "" : std::string_view(contents.tensors.back().name);
    const auto problem = layout_problem(entry, cursor, before, data.size(), data_start);
    if (!problem.empty()) fail(ErrorKind::file_format, where, problem);
    const int64_t end = (*entry.offsets)[1];
    contents.tensors.push_back({std::move(entry.name), *entry.dtype, std::move(*entry.shape),
                                data.subspan(static_cast<size_t>(cursor), static_cast<size_t>(end - cursor))});
    cursor = end;
  }
  check(static_cast<size_t>(cursor) == data.size(), ErrorKind::file_format, where, "{} bytes after the last tensor belong to no tensor",
        data.size() - static_cast<size_t>(cursor));
  return contents;
}

const Format& safetensors_format() {
  static constexpr Format kFormat{"safetensors", [](std::span<const std::byte>) { return true; }, parse_safetensors};
  return kFormat;
}

}  // namespace lowrank::io
