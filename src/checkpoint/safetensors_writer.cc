#include "checkpoint/safetensors_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "checkpoint/input_file.h"
#include "checkpoint/safetensors.h"

namespace fusiontree::checkpoint {
namespace {

using base::BadInput;
using base::Failed;
using base::Quote;
using base::Result;
using base::Status;

Status CheckText(std::string_view text, std::string_view what) {
  if (base::ValidUtf8Prefix(text) == text.size()) return base::OkStatus();
  return BadInput("{} {} cannot be written: it is not UTF-8", what, Quote(text));
}

// Bytes of the tensor's data.
Result<uint64_t> SizeOf(const TensorSpec& spec) {
  if (tensor::IsQuantised(spec.type)) {
    return BadInput("tensor {} of type {} cannot be written: safetensors has no block formats",
                    Quote(spec.name), tensor::Info(spec.type).name);
  }
  uint64_t bytes = tensor::Info(spec.type).bytes;
  for (int64_t dimension : spec.shape) {
    if (dimension < 0 || __builtin_mul_overflow(bytes, static_cast<uint64_t>(dimension), &bytes)) {
      return BadInput("tensor {} cannot be written: its dimension {} is negative or too large",
                      Quote(spec.name), dimension);
    }
  }
  return bytes;
}

}  // namespace

Result<SafetensorsWriter> SafetensorsWriter::Create(const std::string& path,
                                                    const std::vector<TensorSpec>& tensors,
                                                    const std::map<std::string, std::string>& metadata) {
  SafetensorsWriter writer;
  nlohmann::ordered_json header;
  for (const auto& [key, value] : metadata) {
    FT_RETURN_IF_ERROR(CheckText(key, "metadata key"));
    FT_RETURN_IF_ERROR(CheckText(value, "metadata value"));
    header["__metadata__"][key] = value;
  }
  std::vector<const TensorSpec*> order;
  for (const TensorSpec& spec : tensors) order.push_back(&spec);
  std::stable_sort(order.begin(), order.end(), [](const TensorSpec* a, const TensorSpec* b) {
    return tensor::Info(a->type).bytes > tensor::Info(b->type).bytes;
  });
  uint64_t offset = 0;
  for (const TensorSpec* spec : order) {
    FT_RETURN_IF_ERROR(CheckText(spec->name, "tensor name"));
    FT_ASSIGN_OR_RETURN(const uint64_t bytes, SizeOf(*spec));
    uint64_t end;
    if (__builtin_add_overflow(offset, bytes, &end) || end > uint64_t{INT64_MAX} / 2) {
      return BadInput("tensor {} cannot be written: the file would be too large", Quote(spec->name));
    }
    if (spec->name == "__metadata__" || !writer.slots_.emplace(spec->name, Slot{offset, bytes, 0}).second) {
      return BadInput("two tensors to be written have the name {}, or it is reserved", Quote(spec->name));
    }
    header[spec->name] = {
        {"dtype", tensor::Info(spec->type).name}, {"shape", spec->shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.is_null() ? "{}" : header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  if (text.size() > kSafetensorsMaxHeader) {
    return BadInput("{} cannot be written: its header of {} bytes is above the limit of {}", Quote(path),
                    text.size(), kSafetensorsMaxHeader);
  }
  const uint64_t length = text.size();
  for (auto& [name, slot] : writer.slots_) slot.offset += kSafetensorsPrefix + length;

  // Renaming over a device or a pipe would remove it.
  struct stat status;
  if (stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    return BadInput("{} cannot be written: it is {}", Quote(path), KindOfFile(status.st_mode));
  }
  static std::atomic<uint64_t> counter{0};
  writer.path_ = path;
  const std::string temporary = fmt::format("{}.{}-{}.part", path, getpid(), counter.fetch_add(1));
  writer.descriptor_ = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (writer.descriptor_ < 0) return BadInput("{} cannot be written: {}", Quote(path), std::strerror(errno));
  writer.temporary_ = temporary;
  FT_RETURN_IF_ERROR(writer.WriteAt(0, &length, sizeof length));
  FT_RETURN_IF_ERROR(writer.WriteAt(kSafetensorsPrefix, text.data(), text.size()));
  return writer;
}

SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, {})),
      slots_(std::move(other.slots_)) {}

SafetensorsWriter& SafetensorsWriter::operator=(SafetensorsWriter&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(path_, other.path_);
  std::swap(temporary_, other.temporary_);
  std::swap(slots_, other.slots_);
  return *this;
}

SafetensorsWriter::~SafetensorsWriter() {
  if (descriptor_ >= 0) close(descriptor_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

Status SafetensorsWriter::WriteAt(uint64_t offset, const void* data, uint64_t bytes) {
  constexpr uint64_t kMaxCall = 1u << 30;  // Linux writes at most 2 GiB a call
  const char* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t put = pwrite(descriptor_, from, std::min(bytes, kMaxCall), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) {
      return Failed("{} cannot be written at byte {}: {}", Quote(path_), offset,
                    std::strerror(put < 0 ? errno : ENOSPC));
    }
    from += put;
    offset += static_cast<uint64_t>(put);
    bytes -= static_cast<uint64_t>(put);
  }
  return base::OkStatus();
}

Status SafetensorsWriter::Append(std::string_view name, const void* data, uint64_t bytes) {
  FT_CHECK(descriptor_ >= 0);
  const auto found = slots_.find(name);
  FT_CHECK(found != slots_.end());
  Slot& slot = found->second;
  FT_CHECK(bytes <= slot.bytes - slot.written);
  FT_RETURN_IF_ERROR(WriteAt(slot.offset + slot.written, data, bytes));
  slot.written += bytes;
  return base::OkStatus();
}

Status SafetensorsWriter::Finish() {
  FT_CHECK(descriptor_ >= 0);
  for (const auto& [name, slot] : slots_) {
    if (slot.written != slot.bytes) {
      return Failed("{} is not complete: tensor {} has {} of {} bytes", Quote(path_), Quote(name),
                    slot.written, slot.bytes);
    }
  }
  // Some file systems report a full disk only here.
  const bool flushed = fsync(descriptor_) == 0;
  const int flush_error = errno;
  const bool closed = close(std::exchange(descriptor_, -1)) == 0;
  if (!flushed || !closed) {
    return Failed("{} cannot be written: {}", Quote(path_), std::strerror(flushed ? errno : flush_error));
  }
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    return Failed("{} cannot be written: {}", Quote(path_), std::strerror(errno));
  }
  temporary_.clear();
  return base::OkStatus();
}

}  // namespace fusiontree::checkpoint
