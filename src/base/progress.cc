#include "base/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace fusiontree::base {
namespace {

constexpr int kBarWidth = 32, kLeastBarWidth = 8;
constexpr double kRedrawSeconds = 0.1;
constexpr double kPlainSeconds = 2.0;  // shorter work prints no plain line

std::string SecondsNote(double seconds) { return fmt::format("{:.1f} s", seconds); }

// A line longer than the terminal is wide cannot be redrawn.
size_t TerminalColumns() {
  winsize size = {};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1 : 999;
}

}  // namespace

std::string ProgressLine(const std::string& label, double fraction, const std::string& note, int bar_width) {
  fraction = std::clamp(fraction, 0.0, 1.0);
  const int full = static_cast<int>(fraction * bar_width);
  return fmt::format("{}  [{}{}]  {:3.0f}%  {}", label, std::string(full, '#'),
                     std::string(bar_width - full, '.'), fraction * 100, note);
}

std::string ProgressLine(const std::string& label, double fraction, double seconds, int bar_width) {
  return ProgressLine(label, fraction, SecondsNote(seconds), bar_width);
}

bool StderrRedraws() {
  const char* term = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && term != nullptr && std::string_view(term) != "dumb";
}

Progress::Progress(std::string label) : Progress(std::move(label), StderrRedraws()) {}

Progress::Progress(std::string label, bool terminal) : label_(std::move(label)), terminal_(terminal) {}

Progress::~Progress() { Finish(); }

bool Progress::Due(Clock::time_point now) const {
  return terminal_ && (!drawn_ || std::chrono::duration<double>(now - last_).count() >= kRedrawSeconds);
}

void Progress::Draw(double fraction, const std::string& note, Clock::time_point now) {
  const size_t columns = TerminalColumns();
  std::string line = ProgressLine(label_, fraction, note, kBarWidth);
  if (line.size() > columns) {
    const int wider = static_cast<int>(line.size() - columns);
    line = ProgressLine(label_, fraction, note, std::max(kLeastBarWidth, kBarWidth - wider));
  }
  std::fprintf(stderr, "\r%s\x1b[K", line.substr(0, columns).c_str());
  std::fflush(stderr);
  drawn_ = true;
  last_ = now;
}

void Progress::Update(double fraction, const std::string& note) {
  const Clock::time_point now = Clock::now();
  if (Due(now)) Draw(fraction, note, now);
}

void Progress::Update(double fraction) {
  const Clock::time_point now = Clock::now();
  const double seconds = std::chrono::duration<double>(now - start_).count();
  if (Due(now)) Draw(fraction, SecondsNote(seconds), now);
  if (terminal_) return;
  const int quarters = static_cast<int>(std::clamp(fraction, 0.0, 1.0) * 4);
  if (seconds < kPlainSeconds || quarters <= quarters_) return;
  quarters_ = quarters;
  std::fprintf(stderr, "%s %d%% after %.1f s\n", label_.c_str(), quarters * 25, seconds);
}

void Progress::Finish() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);
  drawn_ = false;
}

}  // namespace fusiontree::base
