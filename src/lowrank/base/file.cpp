#include "lowrank/base/file.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lowrank/base/error.h"

namespace lowrank {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void fail_io(const fs::path& path, std::string_view action) {
  const int code = errno;
  fail(ErrorKind::io, path.string(), fmt::format("cannot {}: {}", action, std::strerror(code)),
       code == ENOSPC ? "free some disk space and run again; nothing was overwritten" : "");
}

fs::path temporary_beside(const fs::path& target) {
  static std::atomic<unsigned> counter{0};
  fs::path name = target.filename();
  if (name.empty()) name = target.parent_path().filename();
  const fs::path folder = target.filename().empty() ? target.parent_path().parent_path() : target.parent_path();
  return folder / fmt::format(".{}.{}.{}.tmp", name.string(), ::getpid(), counter++);
}

void sync_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;  // some file systems refuse; the rename itself has happened
  ::fsync(descriptor);
  ::close(descriptor);
}

}  // namespace

std::string read_file(const fs::path& path) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail_io(path, "open");
  struct stat status {};
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor);
    fail(ErrorKind::io, path.string(), "expected a regular file");
  }
  const auto size = static_cast<size_t>(status.st_size);
  if (size > 0) {
    void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    ::close(descriptor);
    if (address == MAP_FAILED) fail_io(path, "map");
    bytes_ = {static_cast<const std::byte*>(address), size};
  } else {
    ::close(descriptor);
  }
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

AtomicFile::AtomicFile(fs::path target) : target_(std::move(target)), temporary_(temporary_beside(target_)) {
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail_io(temporary_, "create");
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
    ::unlink(temporary_.c_str());
  }
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      fail_io(target_, "write");
    }
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void AtomicFile::write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) fail_io(target_, "flush");
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail_io(target_, "rename into place");
  ::close(descriptor_);
  descriptor_ = -1;
  sync_folder(target_.parent_path());
}

void write_file_atomic(const fs::path& target, std::string_view text) {
  AtomicFile file(target);
  file.write(text);
  file.commit();
}

AtomicFolder::AtomicFolder(fs::path target) : target_(std::move(target)), temporary_(temporary_beside(target_)) {
  std::error_code problem;
  fs::create_directories(temporary_, problem);
  if (problem) fail(ErrorKind::io, temporary_.string(), "cannot create folder: " + problem.message());
}

AtomicFolder::~AtomicFolder() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(temporary_, ignored);
}

void AtomicFolder::commit() {
  const fs::path target = target_.filename().empty() ? target_.parent_path() : target_;
  std::error_code ignored;
  sync_folder(temporary_);
  if (fs::exists(target)) {
    // One step: at no moment is there neither the old nor the new folder.
    if (::syscall(SYS_renameat2, AT_FDCWD, temporary_.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) != 0) {
      fail_io(target, "swap into place");
    }
    fs::remove_all(temporary_, ignored);
  } else if (::rename(temporary_.c_str(), target.c_str()) != 0) {
    fail_io(target, "rename into place");
  }
  committed_ = true;
  sync_folder(target.parent_path());
}

}  // namespace lowrank
