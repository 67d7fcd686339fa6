#include "cli/options.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>

namespace fusiontree::cli {
namespace {

// "--max-tokens" of "-n,--max-tokens".
std::string LongName(const std::string& names) {
  const size_t at = names.find("--");
  return at == std::string::npos ? names : names.substr(at);
}

// A limit as people write it: no one wants to read 9223372036854775807.
std::string RangeText(int64_t low, int64_t high) {
  if (high == std::numeric_limits<int64_t>::max()) return fmt::format("a whole number of at least {}", low);
  return fmt::format("a whole number from {} to {}", low, high);
}

}  // namespace

base::Result<int64_t> ParseInteger(const std::string& what, const std::string& text, int64_t low,
                                   int64_t high) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest != end || value < low || value > high)
    return base::BadInput("{} must be {}, not '{}'", what, RangeText(low, high), text);
  return value;
}

base::Result<double> ParseNumber(const std::string& what, const std::string& text, double low, double high) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest != end || !std::isfinite(value) || value < low || value > high)
    return base::BadInput("{} must be a number from {} to {}, not '{}'", what, low, high, text);
  return value;
}

void Options::Argument(const std::string& name, const std::string& help, std::string* out) {
  parser_->AddArgument(name, help, false, [out](const std::vector<std::string>& texts) {
    *out = texts.front();
    return base::OkStatus();
  });
}

void Options::Arguments(const std::string& name, const std::string& help, std::vector<std::string>* out) {
  parser_->AddArgument(name, help, true, [out](const std::vector<std::string>& texts) {
    *out = texts;
    return base::OkStatus();
  });
}

void Options::Flag(const std::string& names, const std::string& help, bool* out) {
  parser_->AddFlag(names, help, [out] { *out = true; });
}

void Options::Text(const std::string& names, const std::string& value, const std::string& help,
                   std::optional<std::string>* out) {
  parser_->AddOption(names, value, help, false, [out](const std::vector<std::string>& texts) {
    *out = texts.back();
    return base::OkStatus();
  });
}

void Options::Texts(const std::string& names, const std::string& value, const std::string& help,
                    std::vector<std::string>* out) {
  parser_->AddOption(names, value, help, true, [out](const std::vector<std::string>& texts) {
    *out = texts;
    return base::OkStatus();
  });
}

void Options::Choice(const std::string& names, const std::vector<std::string>& choices,
                     const std::string& help, std::string* out) {
  parser_->AddOption(names, fmt::format("{}", fmt::join(choices, "|")), help, false,
                     [=](const std::vector<std::string>& texts) {
                       for (const std::string& choice : choices) {
                         if (texts.back() != choice) continue;
                         *out = choice;
                         return base::OkStatus();
                       }
                       return base::BadInput("{} must be one of {}, not '{}'", LongName(names),
                                             fmt::join(choices, ", "), texts.back());
                     });
}

void Options::Integer(const std::string& names, const std::string& help, int64_t low, int64_t high,
                      int64_t* out) {
  parser_->AddOption(names, "N", help, false, [=](const std::vector<std::string>& texts) {
    FT_ASSIGN_OR_RETURN(*out, ParseInteger(LongName(names), texts.back(), low, high));
    return base::OkStatus();
  });
}

void Options::Integer(const std::string& names, const std::string& help, int64_t low, int64_t high,
                      std::optional<int64_t>* out) {
  parser_->AddOption(names, "N", help, false, [=](const std::vector<std::string>& texts) {
    FT_ASSIGN_OR_RETURN(*out, ParseInteger(LongName(names), texts.back(), low, high));
    return base::OkStatus();
  });
}

void Options::Number(const std::string& names, const std::string& help, double low, double high,
                     std::optional<double>* out) {
  parser_->AddOption(names, "X", help, false, [=](const std::vector<std::string>& texts) {
    FT_ASSIGN_OR_RETURN(*out, ParseNumber(LongName(names), texts.back(), low, high));
    return base::OkStatus();
  });
}

}  // namespace fusiontree::cli
