// What the program shows while it works: one live line on a terminal, plain lines in a log. Results go to standard output,
// everything here to standard error.
#pragma once

#include <chrono>
#include <string>

#include "lowrank/base/log.h"
#include "lowrank/base/progress.h"
#include "lowrank/base/stop.h"

namespace lowrank::cli {

/// Shows Progress reports: bar, count, figures, rate, time left. On a terminal redrawn at most 10 times a second, elsewhere
/// a line at most every 10 seconds; nothing at all for stages that end within two seconds in a log.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine();
  void show(const Progress& progress);
  /// Ends the live line, so that other text can follow.
  void clear();
  ProgressSink sink();

 private:
  using Clock = std::chrono::steady_clock;
  void start_stage(const Progress& progress);
  std::string bar(const Progress& progress, double seconds) const;

  bool terminal_, live_ = false, finished_ = false;
  std::string stage_;
  int64_t first_ = 0;
  Clock::time_point started_, drawn_;
};

/// "1 h 02 min", "3 min 20 s", "12 s".
std::string duration_text(double seconds);
/// "1.5 GiB", "12 MiB", "340 KiB".
std::string bytes_text(int64_t bytes);
/// "12,345".
std::string count_text(int64_t count);

/// Sends library notices (info and warning) to standard error.
void show_log_notices();

/// The token that Ctrl-C and SIGTERM set: the first finishes the step and saves, the second ends the program at once.
StopToken& interrupt_token();

}  // namespace lowrank::cli
