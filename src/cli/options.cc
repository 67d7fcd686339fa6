#include "cli/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <string_view>

#include "base/edit_distance.h"

namespace fusiontree::cli {
namespace {

constexpr size_t kHelpColumn = 30;
constexpr size_t kHelpWidth = 110;

// A limit as people write it: no one wants to read 9223372036854775807.
std::string RangeText(int64_t low, int64_t high) {
  if (high == std::numeric_limits<int64_t>::max()) return fmt::format("a whole number of at least {}", low);
  return fmt::format("a whole number from {} to {}", low, high);
}

// "--max-tokens" of "-n,--max-tokens".
std::string LongName(const std::string& names) {
  const size_t at = names.find("--");
  return at == std::string::npos ? names : names.substr(at);
}

// "  left   help", the help wrapped at words.
std::string HelpLine(const std::string& left, const std::string& help) {
  std::string text = "  " + left;
  size_t column = text.size();
  if (column + 2 > kHelpColumn) {
    text += '\n';
    column = 0;
  }
  text.append(kHelpColumn - column, ' ');
  column = kHelpColumn;
  for (size_t at = 0; at < help.size();) {
    const size_t end = std::min(help.find(' ', at), help.size());
    if (column + end - at > kHelpWidth && column > kHelpColumn) {
      text.back() = '\n';
      text.append(kHelpColumn, ' ');
      column = kHelpColumn;
    }
    text.append(help, at, end - at);
    text += ' ';
    column += end - at + 1;
    at = end + 1;
  }
  text.back() = '\n';
  return text;
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

void Options::Add(const std::string& names, const std::string& value, const std::string& help, Store store) {
  const size_t comma = names.find(',');
  options_.push_back({.name = LongName(names),
                      .short_name = comma == std::string::npos ? "" : names.substr(0, comma),
                      .value = value,
                      .help = help,
                      .store = std::move(store)});
}

void Options::Argument(const std::string& name, const std::string& help, std::string* out) {
  arguments_.push_back(
      {.name = name, .short_name = "", .value = "", .help = help, .store = [out](const std::string& text) {
         *out = text;
         return base::OkStatus();
       }});
}

void Options::Arguments(const std::string& name, const std::string& help, std::vector<std::string>* out) {
  arguments_.push_back({.name = name,
                        .short_name = "",
                        .value = "",
                        .help = help,
                        .many = true,
                        .store = [out](const std::string& text) {
                          out->push_back(text);
                          return base::OkStatus();
                        }});
}

void Options::Flag(const std::string& names, const std::string& help, bool* out) {
  Add(names, "", help, [out](const std::string&) {
    *out = true;
    return base::OkStatus();
  });
}

void Options::Text(const std::string& names, const std::string& value, const std::string& help,
                   std::optional<std::string>* out) {
  Add(names, value, help, [out](const std::string& text) {
    *out = text;
    return base::OkStatus();
  });
}

void Options::Texts(const std::string& names, const std::string& value, const std::string& help,
                    std::vector<std::string>* out) {
  Add(names, value, help, [out](const std::string& text) {
    out->push_back(text);
    return base::OkStatus();
  });
}

void Options::Choice(const std::string& names, const std::vector<std::string>& choices,
                     const std::string& help, std::string* out) {
  Add(names, fmt::format("{}", fmt::join(choices, "|")), help, [=](const std::string& text) {
    if (std::find(choices.begin(), choices.end(), text) == choices.end())
      return base::BadInput("{} must be one of {}, not '{}'", LongName(names), fmt::join(choices, ", "),
                            text);
    *out = text;
    return base::OkStatus();
  });
}

void Options::Integer(const std::string& names, const std::string& help, int64_t low, int64_t high,
                      int64_t* out) {
  Add(names, "N", help, [=](const std::string& text) {
    FT_ASSIGN_OR_RETURN(*out, ParseInteger(LongName(names), text, low, high));
    return base::OkStatus();
  });
}

void Options::Integer(const std::string& names, const std::string& help, int64_t low, int64_t high,
                      std::optional<int64_t>* out) {
  Add(names, "N", help, [=](const std::string& text) {
    FT_ASSIGN_OR_RETURN(*out, ParseInteger(LongName(names), text, low, high));
    return base::OkStatus();
  });
}

void Options::Number(const std::string& names, const std::string& help, double low, double high,
                     std::optional<double>* out) {
  Add(names, "X", help, [=](const std::string& text) {
    FT_ASSIGN_OR_RETURN(*out, ParseNumber(LongName(names), text, low, high));
    return base::OkStatus();
  });
}

const Options::Option* Options::Find(const std::string& name) const {
  for (const Option& option : options_)
    if (option.name == name || (!option.short_name.empty() && option.short_name == name)) return &option;
  return nullptr;
}

base::Status Options::UnknownOption(const std::string& name) const {
  constexpr size_t kClose = 3;  // changes between what was typed and what was meant
  const Option* nearest = nullptr;
  size_t best = kClose;
  for (const Option& option : options_) {
    const size_t distance = base::EditDistance(name, option.name);
    if (distance >= best) continue;
    best = distance;
    nearest = &option;
  }
  if (nearest != nullptr)
    return base::BadInput("there is no option '{}' (did you mean {}?)", name, nearest->name);
  return base::BadInput("there is no option '{}' (--help lists what there is)", name);
}

base::Status Options::Parse(const std::vector<std::string>& arguments) {
  size_t filled = 0;  // of arguments_
  bool only_arguments = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& text = arguments[i];
    if (!only_arguments && text == "--") {
      only_arguments = true;
      continue;
    }
    if (only_arguments || text.size() < 2 || text[0] != '-') {
      if (filled == arguments_.size())
        return base::BadInput("'{}' is one argument too many (expected {})", text, Usage());
      const Option& argument = arguments_[filled];
      FT_RETURN_IF_ERROR(argument.store(text));
      if (!argument.many) ++filled;
      continue;
    }
    if (text == "-h" || text == "--help") {
      help_asked_ = true;
      return base::OkStatus();
    }
    // "--name", "--name=value", "-n", "-nvalue".
    const size_t cut = text[1] == '-' ? text.find('=') : text.size() > 2 ? 2 : std::string::npos;
    const std::string name = text.substr(0, cut);
    const Option* option = Find(name);
    if (option == nullptr) return UnknownOption(name);
    if (option->value.empty()) {
      if (cut != std::string::npos)
        return base::BadInput("{} takes no value, but '{}' was given", name, text);
      FT_RETURN_IF_ERROR(option->store(""));
    } else if (cut != std::string::npos) {
      FT_RETURN_IF_ERROR(option->store(text.substr(text[1] == '-' ? cut + 1 : cut)));
    } else {
      if (i + 1 == arguments.size()) return base::BadInput("{} needs a value: {}", name, option->value);
      FT_RETURN_IF_ERROR(option->store(arguments[++i]));
    }
  }
  if (filled < arguments_.size() && !arguments_[filled].many)
    return base::BadInput("{} is missing: {}", arguments_[filled].name, arguments_[filled].help);
  return base::OkStatus();
}

std::string Options::Usage() const {
  std::string text;
  for (const Option& argument : arguments_)
    text += argument.many ? fmt::format("[{}...] ", argument.name) : argument.name + " ";
  return text + "[options]";
}

std::string Options::Help() const {
  std::string text;
  for (const Option& argument : arguments_) text += HelpLine(argument.name, argument.help);
  text += "\nOptions:\n";
  for (const Option& option : options_) {
    std::string left = option.short_name.empty() ? option.name : option.short_name + ", " + option.name;
    if (!option.value.empty()) left += " " + option.value;
    text += HelpLine(left, option.help);
  }
  return text + HelpLine("-h, --help", "this text");
}

base::Result<std::vector<int64_t>> ParseNumbers(const std::string& option, const std::string& list,
                                                int64_t lowest, int64_t highest) {
  std::vector<int64_t> numbers;
  for (size_t at = 0; at <= list.size();) {
    const size_t end = std::min(list.find(',', at), list.size());
    int64_t number = 0;
    const auto [stop, error] = std::from_chars(list.data() + at, list.data() + end, number);
    if (error != std::errc() || stop != list.data() + end || number < lowest || number > highest)
      return base::BadInput("{} must be numbers from {} to {} with commas between them, not '{}'", option,
                            lowest, highest, list);
    numbers.push_back(number);
    at = end + 1;
  }
  return numbers;
}

}  // namespace fusiontree::cli
