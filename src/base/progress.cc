#include "base/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace fusiontree::base {
namespace {

constexpr int kBarWidth = 32;
constexpr double kRedrawSeconds = 0.1;
constexpr double kPlainSeconds = 2.0;  // shorter work prints no plain line

}  // namespace

std::string ProgressLine(const std::string& label, double fraction, double seconds, int bar_width) {
  fraction = std::clamp(fraction, 0.0, 1.0);
  const int full = static_cast<int>(fraction * bar_width);
  return fmt::format("{}  [{}{}]  {:3.0f}%  {:.1f} s", label, std::string(full, '#'),
                     std::string(bar_width - full, '.'), fraction * 100, seconds);
}

Progress::Progress(std::string label) : Progress(std::move(label), isatty(STDERR_FILENO) == 1) {}

Progress::Progress(std::string label, bool terminal) : label_(std::move(label)), terminal_(terminal) {}

Progress::~Progress() { Finish(); }

void Progress::Update(double fraction) {
  const Clock::time_point now = Clock::now();
  const double seconds = std::chrono::duration<double>(now - start_).count();
  if (terminal_) {
    if (drawn_ && std::chrono::duration<double>(now - last_).count() < kRedrawSeconds) return;
    std::fprintf(stderr, "\r%s\x1b[K", ProgressLine(label_, fraction, seconds, kBarWidth).c_str());
    std::fflush(stderr);
    drawn_ = true;
    last_ = now;
    return;
  }
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
