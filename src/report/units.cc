#include "report/units.h"

#include <fmt/format.h>

#include <cmath>

namespace fusiontree::report {
namespace {

std::string Scaled(double value, const char* unit) {
  static constexpr const char* kPrefixes[] = {"", "k", "M", "G", "T", "P"};
  int prefix = 0;
  while (std::abs(value) >= 999.5 && prefix < 5) {
    value /= 1000;
    ++prefix;
  }
  const char* k = kPrefixes[prefix];
  if (prefix == 0) return fmt::format("{:.0f}{}{}", value, *unit ? " " : "", unit);
  const int digits = std::abs(value) >= 99.95 ? 0 : std::abs(value) >= 9.995 ? 1 : 2;
  return fmt::format("{:.{}f} {}{}", value, digits, k, unit);
}

}  // namespace

std::string Bytes(double bytes) { return Scaled(bytes, "B"); }
std::string Count(double count) { return Scaled(count, ""); }

std::string Seconds(double seconds) {
  if (seconds < 0.9995) return fmt::format("{:.{}f} ms", seconds * 1000, seconds < 0.00995 ? 2 : 0);
  if (seconds < 99.5) return fmt::format("{:.2f} s", seconds);
  const int64_t whole = static_cast<int64_t>(seconds + 0.5);
  return fmt::format("{} min {} s", whole / 60, whole % 60);
}

}  // namespace fusiontree::report
