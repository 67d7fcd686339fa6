#include "report/run_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/bytes.h"
#include "report/json.h"
#include "report/output_file.h"

namespace fusiontree::report {
namespace {

using base::BadInput;
using base::Failed;
using base::Status;

}  // namespace

std::string ToLine(const Record& record) {
  Json json(/*indent=*/0);
  json.BeginObject();
  if (!record.kind.empty()) json.Key("kind").Text(record.kind);
  json.Key("step").Integer(record.step);
  if (record.tokens) json.Key("tokens").Integer(*record.tokens);
  for (const auto& [name, value] : record.numbers) json.Key(name).Number(value);
  for (const auto& [name, values] : record.lists) {
    json.Key(name).BeginArray();
    for (const double value : values) json.Number(value);
    json.EndArray();
  }
  for (const auto& [name, text] : record.texts) json.Key(name).Text(text);
  json.EndObject();
  return json.text() + '\n';
}

Record ToRecord(const GatesRecord& gates, std::string_view kind) {
  Record record;
  record.kind = kind;
  record.step = gates.step;
  record.numbers = {{std::string(kLayer), gates.layer},
                    {std::string(kMean), gates.mean},
                    {std::string(kDeviation), gates.deviation}};
  record.numbers.insert(record.numbers.end(), gates.parts.begin(), gates.parts.end());
  record.lists = {{std::string(kHistogram), gates.histogram}};
  if (!gates.channels.empty()) record.lists.emplace_back(kChannels, gates.channels);
  return record;
}

base::Result<RunLog> RunLog::Create(const std::string& path) {
  const int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor < 0) return BadInput("{} cannot be begun: {}", base::Quote(path), std::strerror(errno));
  return RunLog(path, descriptor);
}

base::Result<RunLog> RunLog::Resume(const std::string& path, int64_t step) {
  struct stat info;
  if (lstat(path.c_str(), &info) != 0 && errno == ENOENT) return Create(path);
  // A record is written as it was read: its numbers are the shortest texts of their bits.
  std::string kept;
  FT_RETURN_IF_ERROR(ReadRunLog(path, [&](const Record& record) {
    if (record.step <= step) kept += ToLine(record);
    return base::OkStatus();
  }));
  FT_RETURN_IF_ERROR(ReplaceFile(path, kept));
  const int descriptor = open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (descriptor < 0) return BadInput("{} cannot be opened: {}", base::Quote(path), std::strerror(errno));
  return RunLog(path, descriptor);
}

RunLog& RunLog::operator=(RunLog&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

RunLog::~RunLog() {
  if (descriptor_ >= 0) close(descriptor_);
}

Status RunLog::Append(const Record& record) { return AppendAll(descriptor_, ToLine(record), path_); }

Status RunLog::Sync() {
  if (fdatasync(descriptor_) == 0) return base::OkStatus();
  return Failed("{} cannot be written: {}", base::Quote(path_), std::strerror(errno));
}

}  // namespace fusiontree::report
