#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/json.h"
#include "report/run_log.h"

namespace fusiontree::report {
namespace {

using base::BadInput;
using base::Status;
using nlohmann::json;

constexpr double kNull = std::numeric_limits<double>::quiet_NaN();

// Makes a record of a flat object of numbers, nulls, texts and lists of numbers: neither a document nor deep
// nesting is ever held.
class RecordEvents : public nlohmann::json_sax<json> {
 public:
  explicit RecordEvents(Record* record) : record_(*record) {}
  const Status& status() const { return status_; }
  bool has_step() const { return has_step_; }

  bool null() override { return Value(kNull); }
  bool number_integer(number_integer_t value) override {
    return Integer(value) || Value(static_cast<double>(value));
  }
  bool number_unsigned(number_unsigned_t value) override {
    return (value <= INT64_MAX && Integer(static_cast<int64_t>(value))) || Value(static_cast<double>(value));
  }
  bool number_float(number_float_t value, const string_t&) override { return Value(value); }
  bool string(string_t& text) override {
    if (depth_ != 1) return Misplaced("a text");
    if (key_ == "step" || key_ == "tokens") return Misplaced("a text");
    if (key_ == "kind") {
      record_.kind = std::move(text);
    } else {
      record_.texts.emplace_back(key_, std::move(text));
    }
    return true;
  }
  bool boolean(bool) override { return Misplaced("a boolean"); }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override { return depth_++ == 0 || Misplaced("an object"); }
  bool end_object() override { return true; }
  bool start_array(size_t) override {
    if (depth_++ != 1 || Reserved()) return Misplaced("a list");
    record_.lists.emplace_back(key_, std::vector<double>());
    return true;
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool key(string_t& name) override {
    key_ = std::move(name);
    if (std::find(keys_.begin(), keys_.end(), key_) != keys_.end())
      return Stop(BadInput("it has the key {} twice", base::Quote(key_)));
    keys_.push_back(key_);
    // Their number is bounded by a line's length; their search must not be quadratic in it.
    return keys_.size() <= kMaxKeys || Stop(BadInput("it has more than {} keys", kMaxKeys));
  }
  bool parse_error(size_t position, const std::string& token, const json::exception&) override {
    return Stop(BadInput("it is not valid JSON at byte {}, near {}", position, base::Quote(token)));
  }

 private:
  static constexpr size_t kMaxKeys = 1000;

  bool Reserved() const { return key_ == "step" || key_ == "tokens" || key_ == "kind"; }
  // Takes the value where an integer is meant.
  bool Integer(int64_t value) {
    if (depth_ != 1 || value < 0) return false;
    if (key_ == "step") {
      record_.step = value;
      has_step_ = true;
      return true;
    }
    if (key_ != "tokens") return false;
    record_.tokens = value;
    return true;
  }
  bool Value(double value) {
    if (depth_ == 2) {
      record_.lists.back().second.push_back(value);
      return true;
    }
    if (depth_ != 1) return Misplaced("a value");
    if (Reserved())
      return Stop(
          BadInput("{} must be {}", base::Quote(key_), key_ == "kind" ? "a text" : "a whole number from 0"));
    record_.numbers.emplace_back(key_, value);
    return true;
  }
  bool Misplaced(const char* what) {
    if (key_.empty()) return Stop(BadInput("it must be an object, but it begins with {}", what));
    return Stop(BadInput("{} must be a number or a list of numbers, but holds {}", base::Quote(key_), what));
  }
  bool Stop(Status error) {
    status_ = std::move(error);
    return false;
  }

  Record& record_;
  int depth_ = 0;
  bool has_step_ = false;
  std::string key_;
  std::vector<std::string> keys_;
  Status status_;
};

Status ParseLine(std::string_view line, Record* record) {
  FT_RETURN_IF_ERROR(base::CheckJsonText(line));
  RecordEvents events(record);
  if (!json::sax_parse(line.begin(), line.end(), &events)) return events.status();
  if (!events.has_step()) return BadInput("\"step\" is missing");
  return base::OkStatus();
}

base::Result<std::string> ReadBytes(const std::string& path) {
  const int descriptor =
      open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe would wait for its writer
  if (descriptor < 0) return BadInput("{} cannot be opened: {}", base::Quote(path), std::strerror(errno));
  struct stat info = {};
  Status status;
  if (fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode))
    status = BadInput("{} is not a regular file", base::Quote(path));
  if (status.ok() && static_cast<size_t>(info.st_size) > kMaxRunLogBytes)
    status = BadInput("{} has {} bytes, but at most {} are read", base::Quote(path), info.st_size,
                      kMaxRunLogBytes);
  std::string bytes;
  if (status.ok()) bytes.resize(static_cast<size_t>(info.st_size));
  size_t done = 0;
  while (status.ok() && done < bytes.size()) {
    const ssize_t got = read(descriptor, bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) status = BadInput("{} cannot be read: {}", base::Quote(path), std::strerror(errno));
    if (got <= 0) break;
    done += static_cast<size_t>(got);
  }
  close(descriptor);
  if (!status.ok()) return status;
  bytes.resize(done);
  return bytes;
}

template <typename Pairs>
auto Find(const Pairs& pairs, std::string_view name) -> decltype(&pairs.front().second) {
  for (const auto& pair : pairs)
    if (pair.first == name) return &pair.second;
  return nullptr;
}

}  // namespace

const double* Record::Number(std::string_view name) const { return Find(numbers, name); }
const std::vector<double>* Record::List(std::string_view name) const { return Find(lists, name); }
const std::string* Record::Text(std::string_view name) const { return Find(texts, name); }

base::Result<GatesRecord> ToGates(const Record& record) {
  GatesRecord gates;
  gates.step = record.step;
  const double* layer = record.Number(kLayer);
  if (layer == nullptr || !(*layer >= 0 && *layer < kMaxLayers) || *layer != std::floor(*layer))
    return BadInput("a record of gates needs a \"{}\" from 0 to {}", kLayer, kMaxLayers - 1);
  gates.layer = static_cast<int>(*layer);
  const double* mean = record.Number(kMean);
  const double* deviation = record.Number(kDeviation);
  if (mean == nullptr || deviation == nullptr)
    return BadInput("a record of gates needs a \"{}\"", mean == nullptr ? kMean : kDeviation);
  gates.mean = *mean;
  gates.deviation = *deviation;
  const std::vector<double>* histogram = record.List(kHistogram);
  if (histogram == nullptr || histogram->size() != kGateBins)
    return BadInput("a record of gates needs a \"{}\" of {} numbers, and has {}", kHistogram, kGateBins,
                    histogram == nullptr ? 0 : histogram->size());
  gates.histogram = *histogram;
  return gates;
}

Status ParseRunLog(std::string_view bytes, const std::function<Status(Record)>& use) {
  size_t number = 0;
  for (size_t begin = 0, end; (end = bytes.find('\n', begin)) != std::string_view::npos; begin = end + 1) {
    ++number;
    Record record;
    Status status = ParseLine(bytes.substr(begin, end - begin), &record);
    if (status.ok()) status = use(std::move(record));
    if (!status.ok()) return status.WithContext(fmt::format("line {}", number));
  }
  return base::OkStatus();
}

Status ReadRunLog(const std::string& path, const std::function<Status(Record)>& use) {
  FT_ASSIGN_OR_RETURN(const std::string bytes, ReadBytes(path));
  return ParseRunLog(bytes, use).WithContext(base::Quote(path));
}

base::Result<std::vector<Record>> ReadRunLog(const std::string& path) {
  std::vector<Record> records;
  FT_RETURN_IF_ERROR(ReadRunLog(path, [&](Record record) {
    records.push_back(std::move(record));
    return base::OkStatus();
  }));
  return records;
}

}  // namespace fusiontree::report
