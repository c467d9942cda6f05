// The library's voice: it never prints. It hands notices to a sink that the program sets.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace lowrank {

enum class LogLevel { debug, info, warning };

using LogSink = std::function<void(LogLevel, std::string_view component, std::string_view text)>;

/// Replaces the sink; the default drops everything. Call it once, at the start of main.
void set_log_sink(LogSink sink);

void log(LogLevel level, std::string_view component, std::string_view text);

}  // namespace lowrank
