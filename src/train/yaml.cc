#include "train/yaml.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "base/bytes.h"
#include "base/edit_distance.h"

namespace fusiontree::train {
namespace {

constexpr size_t kMostBytes = size_t{1} << 20;

// The whole of a plain scalar as a number.
template <typename T>
bool Read(const YAML::Node& node, T* out) {
  if (!node.IsScalar() || node.Tag() == "!") return false;
  std::string text = node.Scalar();
  if constexpr (std::is_same_v<T, int64_t>) std::erase(text, '_');
  const char* begin = text.data() + (text.size() > 1 && text[0] == '+' ? 1 : 0);
  const auto [end, error] = std::from_chars(begin, text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size();
}

std::string Shown(const YAML::Node& node) {
  if (node.IsScalar())
    return node.Tag() == "!" ? fmt::format("the text \"{}\"", node.Scalar()) : node.Scalar();
  return node.IsSequence() ? "a list" : node.IsMap() ? "a map" : "nothing";
}

void AddLeaves(const YAML::Node& node, const std::string& path, std::map<std::string, std::string>* leaves) {
  if (node.IsMap()) {
    for (const auto& entry : node)
      AddLeaves(entry.second, path.empty() ? entry.first.Scalar() : path + "." + entry.first.Scalar(),
                leaves);
  } else if (node.IsSequence()) {
    for (size_t i = 0; i < node.size(); ++i) AddLeaves(node[i], fmt::format("{}[{}]", path, i), leaves);
  } else {
    (*leaves)[path] = node.IsScalar() ? node.Scalar() : "null";
  }
}

}  // namespace

struct YamlMap::Node {
  std::string name, path;
  YAML::Node yaml;
  std::vector<std::string> asked;

  YAML::Node Find(const char* key) {
    if (std::find(asked.begin(), asked.end(), key) == asked.end()) asked.emplace_back(key);
    return yaml[key];
  }
  std::string PathOf(std::string_view key) const {
    return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
  }
  base::Status Wrong(const char* key, const YAML::Node& value, const std::string& expected) const {
    return base::BadInput("{}: line {}: \"{}\" must be {}, not {}", name, value.Mark().line + 1, PathOf(key),
                          expected, Shown(value));
  }
};

base::Result<YamlMap> YamlMap::Parse(std::string_view text, const std::string& name) {
  if (text.size() > kMostBytes) return base::BadInput("{}: is longer than {} bytes", name, kMostBytes);
  const size_t valid = base::ValidUtf8Prefix(text);
  if (valid != text.size())
    return base::BadInput("{}: line {}: is not UTF-8", name,
                          1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(valid), '\n'));
  auto node = std::make_shared<Node>();
  node->name = name;
  try {
    node->yaml = YAML::Load(std::string(text));
    if (!node->yaml.IsMap()) return base::BadInput("{}: is not a YAML map", name);
    for (const auto& entry : node->yaml)
      if (!entry.first.IsScalar()) return base::BadInput("{}: has a key that is not text", name);
  } catch (const YAML::Exception& e) {
    return base::BadInput("{}: line {}: is not valid YAML: {}", name, e.mark.line + 1, e.msg);
  }
  return YamlMap(std::move(node));
}

bool YamlMap::Has(const char* key) const { return node_->Find(key).IsDefined(); }

std::string YamlMap::Where() const {
  return node_->path.empty() ? node_->name : fmt::format("{}: \"{}\"", node_->name, node_->path);
}

base::Status YamlMap::Integer(const char* key, int64_t low, int64_t high, int64_t* out) {
  const YAML::Node value = node_->Find(key);
  if (!value.IsDefined()) return base::OkStatus();
  int64_t number = 0;
  if (!Read(value, &number) || number < low || number > high)
    return node_->Wrong(key, value,
                        high == INT64_MAX ? fmt::format("an integer of at least {}", low)
                                          : fmt::format("an integer from {} to {}", low, high));
  *out = number;
  return base::OkStatus();
}

base::Status YamlMap::Integers(const char* key, int64_t low, int64_t high, std::vector<int64_t>* out) {
  const YAML::Node value = node_->Find(key);
  if (!value.IsDefined()) return base::OkStatus();
  const std::string expected = fmt::format("a list of integers from {} to {}", low, high);
  if (!value.IsSequence() || value.size() == 0) return node_->Wrong(key, value, expected);
  out->clear();
  for (const YAML::Node& item : value) {
    int64_t number = 0;
    if (!Read(item, &number) || number < low || number > high) return node_->Wrong(key, item, expected);
    out->push_back(number);
  }
  return base::OkStatus();
}

base::Status YamlMap::Number(const char* key, double low, double high, double* out) {
  const YAML::Node value = node_->Find(key);
  if (!value.IsDefined()) return base::OkStatus();
  double number = 0.0;
  if (!Read(value, &number) || !(number >= low && number <= high))
    return node_->Wrong(key, value, fmt::format("a number from {} to {}", low, high));
  *out = number;
  return base::OkStatus();
}

base::Status YamlMap::Text(const char* key, std::string* out) {
  const YAML::Node value = node_->Find(key);
  if (!value.IsDefined()) return base::OkStatus();
  if (!value.IsScalar() || value.Scalar().empty()) return node_->Wrong(key, value, "text");
  *out = value.Scalar();
  return base::OkStatus();
}

base::Status YamlMap::Choice(const char* key, const std::vector<std::string>& choices, std::string* out) {
  std::string text = *out;
  FT_RETURN_IF_ERROR(Text(key, &text));
  if (std::find(choices.begin(), choices.end(), text) == choices.end())
    return node_->Wrong(key, node_->Find(key), fmt::format("one of {}", fmt::join(choices, ", ")));
  *out = text;
  return base::OkStatus();
}

base::Status YamlMap::Bool(const char* key, bool* out) {
  const YAML::Node value = node_->Find(key);
  if (!value.IsDefined()) return base::OkStatus();
  const std::string text = value.IsScalar() && value.Tag() != "!" ? value.Scalar() : "";
  if (text != "true" && text != "false") return node_->Wrong(key, value, "true or false");
  *out = text == "true";
  return base::OkStatus();
}

base::Status YamlMap::Points(const char* key, double low, double high,
                             std::vector<std::pair<double, double>>* out) {
  const YAML::Node value = node_->Find(key);
  if (!value.IsDefined()) return base::OkStatus();
  std::vector<std::pair<double, double>> points;
  if (value.IsSequence()) {
    for (const YAML::Node& point : value) {
      int64_t x = 0;  // tokens
      double y = 0.0;
      if (!point.IsSequence() || point.size() != 2 || !Read(point[0], &x) || !Read(point[1], &y) ||
          !(y >= low && y <= high) || (!points.empty() && static_cast<double>(x) <= points.back().first))
        return node_->Wrong(key, point.IsDefined() ? point : value,
                            fmt::format("a number or a list of [tokens, value] with ascending tokens and "
                                        "values from {} to {}",
                                        low, high));
      points.emplace_back(static_cast<double>(x), y);
    }
  } else {
    double y = 0.0;
    if (!Read(value, &y) || !(y >= low && y <= high))
      return node_->Wrong(key, value,
                          fmt::format("a number from {} to {}, or a list of [tokens, value]", low, high));
    points.emplace_back(0.0, y);
  }
  if (points.empty()) return node_->Wrong(key, value, "a number or a list of [tokens, value]");
  *out = std::move(points);
  return base::OkStatus();
}

base::Status YamlMap::Map(const char* key, std::vector<YamlMap>* out) {
  const YAML::Node value = node_->Find(key);
  out->clear();
  if (!value.IsDefined()) return base::OkStatus();
  if (!value.IsMap()) return node_->Wrong(key, value, "a map");
  auto node = std::make_shared<Node>();
  node->name = node_->name;
  node->path = node_->PathOf(key);
  node->yaml = value;
  out->push_back(YamlMap(std::move(node)));
  return base::OkStatus();
}

base::Status YamlMap::Maps(const char* key, std::vector<YamlMap>* out) {
  const YAML::Node value = node_->Find(key);
  out->clear();
  if (!value.IsDefined()) return base::OkStatus();
  if (!value.IsSequence() || value.size() == 0) return node_->Wrong(key, value, "a list of maps");
  for (size_t i = 0; i < value.size(); ++i) {
    if (!value[i].IsMap()) return node_->Wrong(key, value[i], "a list of maps");
    auto node = std::make_shared<Node>();
    node->name = node_->name;
    node->path = fmt::format("{}[{}]", node_->PathOf(key), i);
    node->yaml = value[i];
    out->push_back(YamlMap(std::move(node)));
  }
  return base::OkStatus();
}

base::Status YamlMap::RefuseUnknown() const {
  std::set<std::string> seen;
  for (const auto& entry : node_->yaml) {
    const std::string key = entry.first.Scalar();
    if (!seen.insert(key).second)
      return base::BadInput("{}: line {}: \"{}\" is there twice", node_->name, entry.first.Mark().line + 1,
                            node_->PathOf(key));
    if (std::find(node_->asked.begin(), node_->asked.end(), key) != node_->asked.end()) continue;
    const auto nearest = std::min_element(node_->asked.begin(), node_->asked.end(),
                                          [&](const std::string& a, const std::string& b) {
                                            return base::EditDistance(key, a) < base::EditDistance(key, b);
                                          });
    return base::BadInput("{}: line {}: there is no key \"{}\" (did you mean \"{}\"?)", node_->name,
                          entry.first.Mark().line + 1, node_->PathOf(key), *nearest);
  }
  return base::OkStatus();
}

std::map<std::string, std::string> YamlMap::Leaves() const {
  std::map<std::string, std::string> leaves;
  AddLeaves(node_->yaml, "", &leaves);
  return leaves;
}

}  // namespace fusiontree::train
