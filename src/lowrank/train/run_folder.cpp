#include "lowrank/train/run_folder.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "lowrank/base/error.h"

namespace lowrank::train {

namespace fs = std::filesystem;

RunFolder::RunFolder(fs::path path, bool resume) : path_(std::move(path)) {
  std::error_code problem;
  created_ = fs::create_directories(path_, problem);
  check(!problem, ErrorKind::io, path_.string(), "expected to create the folder, got: {}", problem.message());
  lock_ = ::open((path_ / ".lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  check(lock_ >= 0, ErrorKind::io, path_.string(), "expected to write into the folder, got: {}", std::strerror(errno));
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    ::close(lock_);
    fail(ErrorKind::invalid_argument, path_.string(), "another run is writing into this folder", "wait for it, or choose another --out");
  }
  const bool finished = is_finished(path_), refused = finished || (has_checkpoint() && !resume);
  if (!refused) return;
  ::close(lock_);
  fail(ErrorKind::invalid_argument, path_.string(), finished ? "the folder holds a finished run" : "the folder holds an unfinished run",
       finished ? "choose another --out, or remove the folder" : "go on with --resume, or choose another --out");
}

RunFolder::~RunFolder() {
  std::error_code ignored;
  const bool nothing_written = created_ && std::distance(fs::directory_iterator(path_, ignored), {}) == 1;
  if (nothing_written) fs::remove_all(path_, ignored);
  ::close(lock_);
}

bool is_finished(const fs::path& folder) { return fs::exists(folder / "result.json") && !fs::exists(folder / "checkpoint.safetensors"); }

std::unique_ptr<RunFolder> open_folder(const RunRequest& request) {
  return request.out.empty() ? nullptr : std::make_unique<RunFolder>(request.out, request.resume);
}

}  // namespace lowrank::train
