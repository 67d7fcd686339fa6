#include "engine/stop_strings.h"

#include <algorithm>
#include <utility>

namespace fusiontree::engine {
namespace {

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

}  // namespace

base::Status StopStrings::Check(const std::vector<std::string>& stops) {
  size_t bytes = 0;
  for (const std::string& stop : stops) {
    if (stop.empty())
      return base::BadInput("a stop string is empty, so it would end every text at its start");
    bytes += stop.size();
  }
  if (bytes > kMaxBytes)
    return base::BadInput("the stop strings have {} bytes in all, but at most {} are allowed", bytes,
                          kMaxBytes);
  return base::OkStatus();
}

std::string StopStrings::Push(std::string_view piece) {
  if (found_) return "";
  for (const char byte : piece) {
    held_ += byte;
    size_t longest = 0;
    for (const std::string& stop : stops_)
      if (EndsWith(held_, stop)) longest = std::max(longest, stop.size());
    if (longest == 0) continue;
    found_ = true;
    held_.resize(held_.size() - longest);
    return std::exchange(held_, "");
  }
  // Hold back the longest end that begins a stop string.
  size_t hold = 0;
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > hold; --n) {
      if (!EndsWith(held_, std::string_view(stop).substr(0, n))) continue;
      hold = n;
      break;
    }
  }
  std::string out = held_.substr(0, held_.size() - hold);
  held_.erase(0, out.size());
  return out;
}

std::string StopStrings::Finish() { return std::exchange(held_, ""); }

}  // namespace fusiontree::engine
