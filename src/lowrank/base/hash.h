// SHA-256 of data sets, option records and files; CRC-32C for TensorBoard records.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace lowrank {

/// Incremental SHA-256 (OpenSSL's). hex() ends it.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256& update(std::span<const std::byte> bytes);
  Sha256& update(std::string_view text);
  std::string hex();  // 64 lower-case digits; call once

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256_hex(std::string_view text);

/// CRC-32C (Castagnoli), as TFRecord framing uses it before masking.
uint32_t crc32c(std::string_view bytes);

}  // namespace lowrank
