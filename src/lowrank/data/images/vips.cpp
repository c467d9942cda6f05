#include "lowrank/data/images/vips.h"

#include <mutex>

#include "lowrank/base/error.h"
#include "lowrank/base/log.h"

namespace lowrank::data::vips {

namespace {

void on_message(const char* /*domain*/, GLogLevelFlags level, const char* text, void* /*data*/) {
  if ((level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_WARNING)) != 0) log(LogLevel::warning, "libvips", text);
}

void start_once() {
  for (const char* domain : {"VIPS", "GLib", "GLib-GObject"}) {
    g_log_set_handler(domain, static_cast<GLogLevelFlags>(G_LOG_LEVEL_MASK | G_LOG_FLAG_FATAL | G_LOG_FLAG_RECURSION), on_message, nullptr);
  }
  check(vips_init("lowrank") == 0, ErrorKind::internal, "libvips", "expected it to start, got: {}", take_error());
  vips_cache_set_max(0);
  vips_concurrency_set(1);
}

}  // namespace

void start() {
  static std::once_flag once;
  std::call_once(once, start_once);
}

std::string take_error() {
  char* buffer = vips_error_buffer_copy();  // and clears
  std::string text = buffer;
  g_free(buffer);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  text.erase(0, text.rfind('\n') + 1);  // npos + 1 is 0
  return text.empty() ? "no reason given" : text;
}

}  // namespace lowrank::data::vips
