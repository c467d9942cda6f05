// Files: read whole, map read-only, write atomically.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace lowrank {

/// The whole file. Throws Error{io} with the path and the system's reason.
std::string read_file(const std::filesystem::path& path);

/// A file mapped read-only. Empty files map to an empty span.
class MappedFile {
 public:
  /// Throws Error{io} when the file cannot be opened, is no regular file, or cannot be mapped.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::span<const std::byte> bytes_;
};

/// A file that appears whole or not at all: written beside its target, flushed to disk, then renamed over it.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path target);
  ~AtomicFile();  // without commit() the temporary file is removed and the target is untouched
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  /// Flush, fsync, rename, fsync of the folder. Throws Error{io} ("no space left" among others); the target is then as before.
  void commit();

 private:
  std::filesystem::path target_, temporary_;
  int descriptor_ = -1;
};

void write_file_atomic(const std::filesystem::path& target, std::string_view text);

/// A folder that appears whole or not at all. Files are written under path(); commit() swaps it with the target.
class AtomicFolder {
 public:
  explicit AtomicFolder(std::filesystem::path target);
  ~AtomicFolder();
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;

  const std::filesystem::path& path() const { return temporary_; }
  void commit();

 private:
  std::filesystem::path target_, temporary_;
  bool committed_ = false;
};

}  // namespace lowrank
