// The folder of one run: taken by one process at a time, and never overwritten by mistake.
#pragma once

#include <filesystem>
#include <memory>

#include "lowrank/train/run_request.h"

namespace lowrank::train {

class RunFolder {
 public:
  /// Creates and locks `path` (flock on .lock, which the system releases even after SIGKILL). Throws Error{invalid_argument}
  /// when another process holds it, when it holds a finished run, or an unfinished one and `resume` is false; Error{io} when
  /// it cannot be written.
  RunFolder(std::filesystem::path path, bool resume);
  /// A run that was refused before it wrote anything leaves no folder that it made.
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path checkpoint() const { return path_ / "checkpoint.safetensors"; }
  bool has_checkpoint() const { return std::filesystem::exists(checkpoint()); }

 private:
  std::filesystem::path path_;
  bool created_ = false;
  int lock_ = -1;
};

/// True when a run ended there: result.json, which is written last, and no checkpoint left.
bool is_finished(const std::filesystem::path& folder);

/// The folder of request.out; none when the run writes nothing.
std::unique_ptr<RunFolder> open_folder(const RunRequest& request);

}  // namespace lowrank::train
