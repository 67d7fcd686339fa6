#include "checkpoint/safetensors.h"

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "base/bytes.h"
#include "checkpoint/json_events.h"

namespace fusiontree::checkpoint {
namespace {

using base::BadInput;
using base::Quote;
using base::Result;
using base::Status;
using tensor::DType;

constexpr size_t kMaxRank = 8;

// {"__metadata__": {key: string}, name: {"dtype": string, "shape": [n], "data_offsets": [begin, end]}}
class HeaderEvents final : public JsonEvents {
 public:
  struct Entry {
    TensorInfo info;
    uint64_t begin = 0, end = 0;
  };
  std::vector<Entry> TakeEntries() { return std::move(entries_); }

 private:
  enum class Place { kStart, kRoot, kMetadata, kTensor, kShape, kOffsets };
  enum Field : unsigned { kType = 1, kShape = 2, kOffsets = 4 };

  bool Open(bool is_object) override {
    switch (place_) {
      case Place::kStart:
        return Enter(Place::kRoot);
      case Place::kRoot:
        if (!is_object) return Stop(BadInput("{} must be an object, but is a list", Quote(name_)));
        if (name_ == "__metadata__") return Enter(Place::kMetadata);
        entries_.emplace_back();
        entries_.back().info.name = name_;
        fields_ = 0;
        return Enter(Place::kTensor);
      case Place::kTensor:
        if (!is_object && field_ == kShape) return Enter(Place::kShape);
        if (!is_object && field_ == kOffsets) return Enter(Place::kOffsets);
        return Stop(BadInput("\"{}\" of tensor {} must be {}, but is {}", FieldName(), Quote(name_),
                             FieldType(), is_object ? "an object" : "a list"));
      case Place::kMetadata:
        return Stop(
            BadInput("\"__metadata__\" must hold strings only, but {} is nested", Quote(field_name_)));
      case Place::kShape:
      case Place::kOffsets:
        break;
    }
    return Stop(
        BadInput("\"{}\" of tensor {} must hold numbers only, but is nested", FieldName(), Quote(name_)));
  }

  bool Close() override {
    switch (place_) {
      case Place::kStart:
      case Place::kRoot:
        return Enter(Place::kStart);
      case Place::kMetadata:
        return Enter(Place::kRoot);
      case Place::kShape:
        return Enter(Place::kTensor);
      case Place::kOffsets:
        if (offsets_ != 2) return Stop(WrongOffsets());
        return Enter(Place::kTensor);
      case Place::kTensor:
        break;
    }
    for (Field field : {kType, kShape, kOffsets}) {
      field_ = field;
      if ((fields_ & field) == 0) return Stop(BadInput("tensor {} has no \"{}\"", Quote(name_), FieldName()));
    }
    return Enter(Place::kRoot);
  }

  bool Key(std::string& key) override {
    if (place_ == Place::kRoot) {
      if (!names_.insert(key).second) return Stop(BadInput("the key {} appears twice", Quote(key)));
      name_ = std::move(key);
      metadata_keys_.clear();
      return true;
    }
    if (place_ == Place::kMetadata) {
      if (!metadata_keys_.insert(key).second) {
        return Stop(BadInput("the key {} appears twice in \"__metadata__\"", Quote(key)));
      }
      field_name_ = std::move(key);
      return true;
    }
    if (key == "dtype") {
      field_ = kType;
    } else if (key == "shape") {
      field_ = kShape;
    } else if (key == "data_offsets") {
      field_ = kOffsets;
    } else {
      return Stop(BadInput("tensor {} has the unknown key {}", Quote(name_), Quote(key)));
    }
    if ((fields_ & field_) != 0) {
      return Stop(BadInput("the key \"{}\" of tensor {} appears twice", FieldName(), Quote(name_)));
    }
    fields_ |= field_;
    offsets_ = 0;
    return true;
  }

  bool Value(const Scalar& value) override {
    switch (place_) {
      case Place::kStart:
        return Stop(BadInput("it is not a JSON object"));
      case Place::kRoot:
        return Stop(BadInput("{} must be an object, but is {}", Quote(name_), Name(value.kind)));
      case Place::kMetadata:
        if (value.kind == Kind::kString) return true;
        return Stop(BadInput("{} in \"__metadata__\" must be a string, but is {}", Quote(field_name_),
                             Name(value.kind)));
      case Place::kTensor:
        return TypeValue(value);
      case Place::kShape:
        return ShapeValue(value);
      case Place::kOffsets:
        break;
    }
    if (value.kind != Kind::kUnsigned) {
      return Stop(BadInput("\"data_offsets\" of tensor {} must be whole numbers from 0, but hold {}",
                           Quote(name_), Name(value.kind)));
    }
    if (offsets_ == 2) {
      ++offsets_;
      return Stop(WrongOffsets());
    }
    (offsets_ == 0 ? entries_.back().begin : entries_.back().end) = value.number;
    ++offsets_;
    return true;
  }

  bool TypeValue(const Scalar& value) {
    if (field_ != kType || value.kind != Kind::kString) {
      return Stop(BadInput("\"{}\" of tensor {} must be {}, but is {}", FieldName(), Quote(name_),
                           FieldType(), Name(value.kind)));
    }
    const std::optional<DType> type = SafetensorsType(*value.text);
    if (!type) {
      return Stop(BadInput(
          "tensor {} has the type {}, which is unknown or not supported (F64, F32, F16, BF16, I64, I32, "
          "I16, I8, U8 and BOOL are)",
          Quote(name_), Quote(*value.text)));
    }
    entries_.back().info.type = *type;
    return true;
  }

  bool ShapeValue(const Scalar& value) {
    std::vector<int64_t>& shape = entries_.back().info.shape;
    if (value.kind != Kind::kUnsigned || value.number > uint64_t{INT64_MAX}) {
      return Stop(BadInput("\"shape\" of tensor {} must hold whole numbers from 0, but holds {}",
                           Quote(name_),
                           value.kind == Kind::kUnsigned ? "one beyond 63 bits" : Name(value.kind)));
    }
    if (shape.size() == kMaxRank) {
      return Stop(BadInput("tensor {} has more than {} dimensions", Quote(name_), kMaxRank));
    }
    shape.push_back(static_cast<int64_t>(value.number));
    return true;
  }

  Status WrongOffsets() const {
    return BadInput("\"data_offsets\" of tensor {} must be two numbers, but are {}", Quote(name_),
                    offsets_ > 2    ? "more"
                    : offsets_ == 1 ? "one"
                                    : "none");
  }
  std::string_view FieldName() const {
    return field_ == kType ? "dtype" : field_ == kShape ? "shape" : "data_offsets";
  }
  std::string_view FieldType() const { return field_ == kType ? "a string" : "a list"; }
  bool Enter(Place place) {
    place_ = place;
    return true;
  }

  Place place_ = Place::kStart;
  std::string name_;        // of the tensor, or "__metadata__"
  std::string field_name_;  // within __metadata__
  Field field_ = kType;
  unsigned fields_ = 0;  // of the tensor seen so far
  int offsets_ = 0;      // of its data_offsets seen so far
  std::vector<Entry> entries_;
  std::unordered_set<std::string> names_, metadata_keys_;
};

// Size in bytes of `shape` x `type`, or false when it does not fit into 63 bits.
bool SizeOf(const TensorInfo& info, uint64_t* bytes) {
  // A zero anywhere makes the tensor empty, whatever the other dimensions would multiply to.
  if (std::count(info.shape.begin(), info.shape.end(), 0) != 0) {
    *bytes = 0;
    return true;
  }
  int64_t total = static_cast<int64_t>(tensor::Info(info.type).bytes);
  for (int64_t dimension : info.shape) {
    if (__builtin_mul_overflow(total, dimension, &total)) return false;
  }
  *bytes = static_cast<uint64_t>(total);
  return true;
}

}  // namespace

std::optional<DType> SafetensorsType(std::string_view name) {
  for (DType type : {DType::kF32, DType::kF16, DType::kBF16, DType::kF64, DType::kI64, DType::kI32,
                     DType::kI16, DType::kI8, DType::kU8, DType::kBool}) {
    if (tensor::Info(type).name == name) return type;
  }
  return std::nullopt;
}

Result<uint64_t> SafetensorsHeaderSize(std::span<const uint8_t> start, uint64_t file_size) {
  if (start.size() < kSafetensorsPrefix) {
    return BadInput("the file has {} bytes, too few for a safetensors header", file_size);
  }
  uint64_t length;
  std::memcpy(&length, start.data(), sizeof length);
  if (length < 2)
    return BadInput("the safetensors header length is {}, but at least 2 bytes are needed", length);
  if (length > kSafetensorsMaxHeader) {
    return BadInput(
        "the safetensors header length is {}, above the limit of {} (is this a safetensors file?)", length,
        kSafetensorsMaxHeader);
  }
  if (length > file_size - kSafetensorsPrefix) {
    return BadInput("the safetensors header length is {}, but the file has only {} bytes", length, file_size);
  }
  return length;
}

Result<std::vector<TensorInfo>> ParseSafetensorsHeader(std::string_view header, uint64_t data_start,
                                                       uint64_t data_size) {
  HeaderEvents events;
  FT_RETURN_IF_ERROR(ParseJson(header, &events).WithContext("the safetensors header"));
  std::vector<HeaderEvents::Entry> entries = events.TakeEntries();
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end, a.info.name) < std::tie(b.begin, b.end, b.info.name);
  });

  std::vector<TensorInfo> tensors;
  tensors.reserve(entries.size());
  uint64_t covered = 0;  // the data is accounted for up to here
  for (HeaderEvents::Entry& entry : entries) {
    TensorInfo& info = entry.info;
    const std::string name = Quote(info.name);
    if (entry.end < entry.begin) {
      return BadInput("tensor {} has reversed offsets: it begins at {} and ends at {}", name, entry.begin,
                      entry.end);
    }
    if (entry.end > data_size) {
      return BadInput("tensor {} ends at byte {} of the data, but the file has only {}", name, entry.end,
                      data_size);
    }
    if (entry.begin != covered) {
      return BadInput("tensor {} begins at byte {} of the data, but the one before ends at {} ({})", name,
                      entry.begin, covered, entry.begin > covered ? "a hole" : "an overlap");
    }
    uint64_t expected;
    if (!SizeOf(info, &expected))
      return BadInput("the shape {} of tensor {} is too large", info.ShapeString(), name);
    if (entry.end - entry.begin != expected) {
      return BadInput("tensor {} of type {} and shape {} needs {} bytes, but its offsets span {}", name,
                      tensor::Info(info.type).name, info.ShapeString(), expected, entry.end - entry.begin);
    }
    covered = entry.end;
    info.bytes = expected;
    info.offset = data_start + entry.begin;
    tensors.push_back(std::move(info));
  }
  if (covered != data_size) {
    return BadInput("the tensors cover {} bytes of data, but the file has {}", covered, data_size);
  }
  return tensors;
}

}  // namespace fusiontree::checkpoint
