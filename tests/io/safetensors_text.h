// Safetensors files put together by hand, good ones and bad ones.
#pragma once

#include <cstring>
#include <string>
#include <string_view>

#include "lowrank/base/error.h"
#include "lowrank/io/formats/safetensors.h"

namespace lowrank::io {

/// Length, header padded to a multiple of 8, data.
inline std::string file_of(std::string header, const std::string& data = "") {
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + header + data;
}

/// "name":{…} of one float32 vector.
inline std::string f32(std::string_view name, int64_t count, int64_t begin) {
  return fmt::format(R"("{}":{{"dtype":"F32","shape":[{}],"data_offsets":[{},{}]}})", name, count, begin, begin + 4 * count);
}

inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text.data(), text.size())); }

}  // namespace lowrank::io
