#include "lowrank/train/tensorboard.h"

#include <bit>

#include "lowrank/base/error.h"
#include "lowrank/base/hash.h"

namespace lowrank::train {

namespace {

static_assert(std::endian::native == std::endian::little, "frames and fixed-width fields are little-endian");

template <class T>
std::string bytes_of(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>(value | 0x80));
  bytes.push_back(static_cast<char>(value));
  return bytes;
}

/// Wire types of protobuf: 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes.
std::string key(int field, int wire) { return varint(static_cast<uint64_t>(field << 3 | wire)); }
std::string bytes_field(int field, const std::string& bytes) { return key(field, 2) + varint(bytes.size()) + bytes; }

uint32_t masked_crc(const std::string& bytes) {
  const uint32_t crc = crc32c(bytes);
  return (crc >> 15 | crc << 17) + 0xA282EAD8U;
}

std::string event_start(double wall_time) { return key(1, 1) + bytes_of(wall_time); }

}  // namespace

EventFile::EventFile(const std::filesystem::path& path, double wall_time) : path_(path), file_(path, std::ios::binary) {
  record(event_start(wall_time) + bytes_field(3, "brain.Event:2"));
}

void EventFile::scalars(int64_t step, double wall_time, const std::vector<std::pair<std::string, double>>& values) {
  std::string summary;
  for (const auto& [tag, value] : values) {
    summary += bytes_field(1, bytes_field(1, tag) + key(2, 5) + bytes_of(static_cast<float>(value)));
  }
  record(event_start(wall_time) + key(2, 0) + varint(static_cast<uint64_t>(step)) + bytes_field(5, summary));
}

void EventFile::record(const std::string& event) {
  const std::string length = bytes_of(static_cast<uint64_t>(event.size()));
  file_ << length << bytes_of(masked_crc(length)) << event << bytes_of(masked_crc(event)) << std::flush;
  check(file_.good(), ErrorKind::io, path_.string(), "expected to write an event, but the system refused");
}

}  // namespace lowrank::train
