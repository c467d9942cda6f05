#include "lowrank/base/log.h"

#include <mutex>
#include <utility>

namespace lowrank {

namespace {

std::mutex mutex;
LogSink current_sink;

}  // namespace

void set_log_sink(LogSink sink) {
  const std::lock_guard lock(mutex);
  current_sink = std::move(sink);
}

void log(LogLevel level, std::string_view component, std::string_view text) {
  const std::lock_guard lock(mutex);
  if (current_sink) current_sink(level, component, text);
}

}  // namespace lowrank
