#include "lowrank/cli/terminal.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lowrank/base/error.h"

namespace lowrank::cli {

namespace {

constexpr std::chrono::milliseconds kRedraw{100};
constexpr std::chrono::seconds kLogEvery{10};
constexpr double kWorthShowing = 2.0;  // seconds

int terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 100;
}

/// The first `columns` characters (not bytes) of UTF-8 text.
std::string cut(const std::string& text, int columns) {
  int seen = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0U) != 0x80U && seen++ == columns) return text.substr(0, i);
  }
  return text;
}

void on_signal(int /*signal*/) {
  StopToken& token = interrupt_token();
  if (token.requested()) _exit(130);
  token.request();
  constexpr char kNotice[] = "\nstopping after this step and saving; once more to stop at once\n";
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, kNotice, sizeof(kNotice) - 1);
}

}  // namespace

ProgressLine::ProgressLine() : terminal_(isatty(STDERR_FILENO) == 1) {}

ProgressLine::~ProgressLine() { clear(); }

void ProgressLine::clear() {
  if (live_) std::cerr << "\n";
  live_ = false;
}

void ProgressLine::start_stage(const Progress& progress) {
  if (live_) std::cerr << "\r\x1b[K";  // the finished stage's line gives way; its result is reported elsewhere
  live_ = false;
  finished_ = false;
  stage_ = progress.stage;
  first_ = progress.done;
  started_ = drawn_ = Clock::now();
}

std::string ProgressLine::bar(const Progress& progress, double seconds) const {
  std::string text = progress.stage;
  if (progress.total > 0) {
    constexpr int kCells = 20;
    const int filled = static_cast<int>(kCells * progress.done / std::max<int64_t>(1, progress.total));
    if (terminal_) {
      text += " ";
      for (int i = 0; i < kCells; ++i) text += i < filled ? "█" : "░";
    }
    text += fmt::format(" {}/{} {}", count_text(progress.done), count_text(progress.total), progress.unit);
  } else {
    text += fmt::format(" {} {}", count_text(progress.done), progress.unit);
  }
  for (const auto& [name, value] : progress.figures) text += fmt::format("  {} {}", name, value);
  const auto moved = static_cast<double>(progress.done - first_);
  if (moved > 0 && seconds > 0.5) {
    const double rate = moved / seconds;
    text += fmt::format("  {:.{}f} {}/s", rate, rate < 10 ? 2 : 0, progress.unit);
    if (progress.total > 0) text += fmt::format("  {} left", duration_text(static_cast<double>(progress.total - progress.done) / rate));
  }
  return text;
}

void ProgressLine::show(const Progress& progress) {
  if (progress.stage != stage_ || progress.done < first_) start_stage(progress);
  const auto now = Clock::now();
  const double seconds = std::chrono::duration<double>(now - started_).count();
  const bool last = progress.total > 0 && progress.done >= progress.total;
  if (terminal_) {
    if (!last && live_ && now - drawn_ < kRedraw) return;
    std::cerr << "\r\x1b[K" << cut(bar(progress, seconds), terminal_width() - 1) << std::flush;
    live_ = true;
  } else {
    if (seconds < kWorthShowing || finished_ || (!last && now - drawn_ < kLogEvery)) return;
    std::cerr << bar(progress, seconds) << "\n";
    finished_ = last;
  }
  drawn_ = now;
}

ProgressSink ProgressLine::sink() {
  return [this](const Progress& progress) { show(progress); };
}

std::string duration_text(double seconds) {
  const auto whole = static_cast<int64_t>(std::max(0.0, seconds) + 0.5);
  if (whole >= 3600) return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
  if (whole >= 60) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return seconds < 9.95 ? fmt::format("{:.1f} s", seconds) : fmt::format("{} s", whole);
}

std::string bytes_text(int64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes >= int64_t{1} << 30) return fmt::format("{:.1f} GiB", value / (1 << 30));
  if (bytes >= int64_t{1} << 20) return fmt::format("{:.0f} MiB", value / (1 << 20));
  return fmt::format("{:.0f} KiB", value / 1024);
}

std::string count_text(int64_t count) {
  std::string text = std::to_string(count);
  for (auto at = static_cast<int64_t>(text.size()) - 3; at > (count < 0 ? 1 : 0); at -= 3) text.insert(static_cast<size_t>(at), ",");
  return text;
}

void show_log_notices() {
  set_log_sink([](LogLevel level, std::string_view component, std::string_view text) {
    if (level != LogLevel::debug) std::cerr << (level == LogLevel::warning ? "warning: " : "") << component << ": " << text << "\n";
  });
}

StopToken& interrupt_token() {
  static StopToken token;
  static const bool installed = [] {
    struct sigaction action {};
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    return true;
  }();
  (void)installed;
  return token;
}

}  // namespace lowrank::cli
