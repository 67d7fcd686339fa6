#include "report/tensorboard.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "base/utf8.h"
#include "report/output_file.h"

namespace fusiontree::report {
namespace {

// Numbers of fields in TensorFlow's event.proto, summary.proto and histogram.proto.
enum EventField { kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7 };
enum SummaryField { kSummaryValue = 1 };
enum ValueField { kTag = 1, kSimpleValue = 2, kHisto = 5 };
enum HistogramField { kMin = 1, kMax, kNum, kSum, kSumSquares, kBucketLimit, kBucket };
enum SessionLogField { kStatus = 1 };
constexpr uint64_t kSessionStart = 1;

constexpr int kMaxFilesInASecond = 1000;

void AppendVarint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) *out += static_cast<char>(value | 0x80);
  *out += static_cast<char>(value);
}

template <typename T>
void AppendRaw(T value, std::string* out) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out->append(bytes, sizeof(T));
}

// Protobuf's wire types: 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes.
void AppendKey(int field, int wire_type, std::string* out) {
  AppendVarint(static_cast<uint64_t>(field << 3 | wire_type), out);
}
void AppendInteger(int field, uint64_t value, std::string* out) {
  AppendKey(field, 0, out);
  AppendVarint(value, out);
}
void AppendDouble(int field, double value, std::string* out) {
  AppendKey(field, 1, out);
  AppendRaw(value, out);
}
void AppendFloat(int field, float value, std::string* out) {
  AppendKey(field, 5, out);
  AppendRaw(value, out);
}
void AppendBytes(int field, std::string_view bytes, std::string* out) {
  AppendKey(field, 2, out);
  AppendVarint(bytes.size(), out);
  *out += bytes;
}
void AppendDoubles(int field, const double* values, size_t count, std::string* out) {
  AppendBytes(field, {reinterpret_cast<const char*>(values), count * sizeof(double)}, out);
}

std::string EventHead(double time, int64_t step) {
  std::string event;
  AppendDouble(kWallTime, time, &event);
  AppendInteger(kStep, static_cast<uint64_t>(step), &event);
  return event;
}

constexpr std::array<uint32_t, 256> Crc32cTable() {
  std::array<uint32_t, 256> table = {};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);  // Castagnoli, reflected
    table[byte] = crc;
  }
  return table;
}

}  // namespace

uint32_t Crc32c(std::string_view bytes) {
  static constexpr std::array<uint32_t, 256> kTable = Crc32cTable();
  uint32_t crc = ~0u;
  for (const char c : bytes) crc = crc >> 8 ^ kTable[(crc ^ static_cast<uint8_t>(c)) & 0xFF];
  return ~crc;
}

uint32_t MaskedCrc32c(std::string_view bytes) {
  return std::rotr(Crc32c(bytes), 15) + 0xA282EAD8u;  // the TFRecord format's mask
}

std::string TfRecord(std::string_view bytes) {
  std::string record;
  AppendRaw(static_cast<uint64_t>(bytes.size()), &record);
  AppendRaw(MaskedCrc32c(record), &record);
  record += bytes;
  AppendRaw(MaskedCrc32c(bytes), &record);
  return record;
}

Histogram EqualBins(const std::vector<double>& counts, double low, double high, double mean,
                    double deviation) {
  Histogram histogram;
  histogram.counts = counts;
  double count = 0;
  for (size_t i = 0; i <= counts.size(); ++i) {
    histogram.edges.push_back(low +
                              (high - low) * static_cast<double>(i) / static_cast<double>(counts.size()));
    if (i < counts.size()) count += counts[i];
  }
  histogram.sum = count * mean;
  histogram.sum_of_squares = count * (mean * mean + deviation * deviation);
  return histogram;
}

base::Result<EventFile> EventFile::Create(const std::string& folder, int64_t seconds, const std::string& host,
                                          std::optional<int64_t> restarted_at) {
  EventFile file;
  std::string name = fmt::format("events.out.tfevents.{:010}.{}", seconds, host);
  std::replace(name.begin(), name.end(), '/', '_');
  for (int i = 0; i < kMaxFilesInASecond && file.descriptor_ < 0; ++i) {
    file.path_ = folder + "/" + name + (i == 0 ? "" : fmt::format(".{}", i));
    file.descriptor_ = open(file.path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
    if (file.descriptor_ < 0 && errno != EEXIST) break;
  }
  if (file.descriptor_ < 0)
    return base::BadInput("{} cannot be written: {}", base::Quote(file.path_), std::strerror(errno));
  const double time = static_cast<double>(seconds);
  std::string version = EventHead(time, 0);
  AppendBytes(kFileVersion, "brain.Event:2", &version);
  file.pending_ = TfRecord(version);
  if (restarted_at) {
    std::string status, start = EventHead(time, *restarted_at);
    AppendInteger(kStatus, kSessionStart, &status);
    AppendBytes(kSessionLog, status, &start);
    file.pending_ += TfRecord(start);
  }
  FT_RETURN_IF_ERROR(file.Flush());
  return file;
}

EventFile::EventFile(EventFile&& other) noexcept : descriptor_(-1) { *this = std::move(other); }

EventFile& EventFile::operator=(EventFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(pending_, other.pending_);
  std::swap(summary_, other.summary_);
  std::swap(step_, other.step_);
  std::swap(time_, other.time_);
  return *this;
}

EventFile::~EventFile() {
  if (descriptor_ < 0) return;
  (void)Flush();
  close(descriptor_);
}

void EventFile::AddScalar(std::string_view tag, int64_t step, double time, double value) {
  std::string entry;
  AppendBytes(kTag, base::ReplaceInvalidUtf8(tag), &entry);
  AppendFloat(kSimpleValue, static_cast<float>(value), &entry);
  Add(step, time, entry);
}

void EventFile::AddHistogram(std::string_view tag, int64_t step, double time, const Histogram& histogram) {
  FT_CHECK(!histogram.counts.empty() && histogram.edges.size() == histogram.counts.size() + 1);
  double count = 0;
  for (const double c : histogram.counts) count += c;
  std::string message;
  AppendDouble(kMin, histogram.edges.front(), &message);
  AppendDouble(kMax, histogram.edges.back(), &message);
  AppendDouble(kNum, count, &message);
  AppendDouble(kSum, histogram.sum, &message);
  AppendDouble(kSumSquares, histogram.sum_of_squares, &message);
  // Upper edges only: TensorBoard begins the first bin at the minimum.
  AppendDoubles(kBucketLimit, histogram.edges.data() + 1, histogram.counts.size(), &message);
  AppendDoubles(kBucket, histogram.counts.data(), histogram.counts.size(), &message);
  std::string entry;
  AppendBytes(kTag, base::ReplaceInvalidUtf8(tag), &entry);
  AppendBytes(kHisto, message, &entry);
  Add(step, time, entry);
}

void EventFile::Add(int64_t step, double time, std::string_view summary_value) {
  if (!summary_.empty() && step != step_) CloseEvent();
  if (summary_.empty()) time_ = time;
  step_ = step;
  AppendBytes(kSummaryValue, summary_value, &summary_);
}

void EventFile::CloseEvent() {
  if (summary_.empty()) return;
  std::string event = EventHead(time_, step_);
  AppendBytes(kSummary, summary_, &event);
  pending_ += TfRecord(event);
  summary_.clear();
}

base::Status EventFile::Flush() {
  CloseEvent();
  FT_RETURN_IF_ERROR(AppendAll(descriptor_, pending_, path_));
  pending_.clear();
  return base::OkStatus();
}

}  // namespace fusiontree::report
