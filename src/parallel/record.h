// What rank 0 tells the others to do: fixed, versioned records, their lengths checked. No serialised objects.
#ifndef FUSIONTREE_PARALLEL_RECORD_H_
#define FUSIONTREE_PARALLEL_RECORD_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/status.h"
#include "parallel/communicator.h"

namespace fusiontree::parallel {

enum class RecordKind : uint32_t {
  kEnd = 1,      // the job is done
  kLoad = 2,     // load a model: engine/ranks.h
  kUnload = 3,   // drop it
  kForward = 4,  // models/distributed.h
  kHead = 5,
  kTask = 6,     // something that a command has all ranks do: engine/ranks.h
  kThreads = 7,  // go on with another number of threads: engine/ranks.h
};

// The payload of a record, put in order.
class RecordWriter {
 public:
  template <typename T>
  void Put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T> && std::has_unique_object_representations_v<T>);
    Append(&value, sizeof(T));
  }
  template <typename T>
  void PutAll(const T* values, size_t count) {
    Put<uint64_t>(count);
    Append(values, count * sizeof(T));
  }
  void PutText(std::string_view text) { PutAll(text.data(), text.size()); }
  const std::vector<char>& bytes() const { return bytes_; }

 private:
  void Append(const void* data, size_t size) {
    const char* from = static_cast<const char*>(data);
    bytes_.insert(bytes_.end(), from, from + size);
  }
  std::vector<char> bytes_;
};

// Takes the same values in the same order; a record too short or too long is an error, which Done() tells.
class RecordReader {
 public:
  explicit RecordReader(std::string_view bytes) : bytes_(bytes) {}
  template <typename T>
  T Take() {
    T value{};
    if (Has(sizeof(T))) std::memcpy(&value, bytes_.data() + at_, sizeof(T)), at_ += sizeof(T);
    return value;
  }
  template <typename T>
  std::vector<T> TakeAll() {
    const uint64_t count = Take<uint64_t>();
    if (count > (bytes_.size() - at_) / sizeof(T)) short_ = true;
    std::vector<T> values(short_ ? 0 : static_cast<size_t>(count));
    if (!values.empty()) std::memcpy(values.data(), bytes_.data() + at_, values.size() * sizeof(T));
    at_ += values.size() * sizeof(T);
    return values;
  }
  std::string TakeText() {
    const std::vector<char> text = TakeAll<char>();
    return std::string(text.begin(), text.end());
  }
  base::Status Done() const;

 private:
  bool Has(size_t size) {
    short_ = short_ || bytes_.size() - at_ < size;
    return !short_;
  }
  std::string_view bytes_;
  size_t at_ = 0;
  bool short_ = false;
};

// Rank 0.
void Send(Communicator& communicator, RecordKind kind, const RecordWriter& payload);
// The others: waits for what rank 0 sends next.
struct Record {
  RecordKind kind = RecordKind::kEnd;
  std::string payload;
};
base::Result<Record> Receive(Communicator& communicator);

// On every rank: OK when it is OK everywhere, else on every rank the error of the lowest rank that has one,
// which is named when it is not rank 0.
base::Status Agree(Communicator& communicator, const base::Status& status);

}  // namespace fusiontree::parallel

#endif  // FUSIONTREE_PARALLEL_RECORD_H_
