#include "models/describe.h"

#include <fmt/ranges.h>

#include <map>

namespace fusiontree::models {

std::string YesNo(bool value) { return value ? "yes" : "no"; }

std::string WindowText(const std::vector<int64_t>& windows) {
  std::map<int64_t, int64_t> layers;
  for (const int64_t window : windows) ++layers[window];
  std::string text;
  for (const auto& [window, count] : layers) {
    if (!text.empty()) text += "; ";
    text += window == 0 ? fmt::format("{} layers see the whole context", count)
                        : fmt::format("{} layers see the last {} tokens", count, window);
  }
  return text;
}

Fact IntegerFact(const char* key, int64_t value) { return {"", "", key, std::to_string(value)}; }
Fact NumberFact(const char* key, double value) { return {"", "", key, fmt::format("{}", value)}; }
Fact BoolFact(const char* key, bool value) { return {"", "", key, value ? "true" : "false"}; }
Fact TextFact(const char* key, const std::string& plain_ascii) {
  return {"", "", key, "\"" + plain_ascii + "\""};
}
Fact IntegersFact(const char* key, const std::vector<int64_t>& values) {
  return {"", "", key, fmt::format("[{}]", fmt::join(values, ", "))};
}
Fact Line(const char* label, std::string text) { return {label, std::move(text), "", ""}; }

}  // namespace fusiontree::models
