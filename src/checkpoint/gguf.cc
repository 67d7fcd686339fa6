#include "checkpoint/gguf.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>

#include "base/bytes.h"
#include "checkpoint/ggml_types.h"

namespace fusiontree::checkpoint {
namespace {

using base::BadInput;
using base::ByteReader;
using base::OkStatus;
using base::Quote;
using base::Result;
using base::Status;
using tensor::DType;

constexpr uint32_t kMaxRank = 4;
constexpr uint64_t kMaxNameLength = 65535;         // the specification's limit for keys
constexpr uint64_t kMaxArrayElements = 16u << 20;  // over all arrays; the largest vocabularies need 2 million
constexpr uint64_t kDefaultAlignment = 32, kMaxAlignment = 65536;

enum MetaType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBoolean,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
};

// Bytes of the smallest value of a type, 0 for a type that does not exist.
uint64_t LeastBytes(uint32_t type) {
  switch (type) {
    case kUint8:
    case kInt8:
    case kBoolean:
      return 1;
    case kUint16:
    case kInt16:
      return 2;
    case kUint32:
    case kInt32:
    case kFloat32:
      return 4;
    case kString:
    case kUint64:
    case kInt64:
    case kFloat64:
      return 8;
    case kArray:
      return 12;
    default:
      return 0;
  }
}

class Parser {
 public:
  Parser(std::span<const uint8_t> bytes, uint64_t file_size) : reader_(bytes), file_size_(file_size) {}

  bool ran_out() const { return reader_.ran_out(); }

  Result<GgufHeader> Parse() {
    FT_RETURN_IF_ERROR(ReadStart());
    for (uint64_t i = 0; i < metadata_count_; ++i) FT_RETURN_IF_ERROR(ReadPair(i));
    FT_RETURN_IF_ERROR(CheckSplit());
    for (uint64_t i = 0; i < tensor_count_; ++i) FT_RETURN_IF_ERROR(ReadTensor(i));
    FT_RETURN_IF_ERROR(PlaceTensors());
    return std::move(header_);
  }

 private:
  // Bytes of the file not yet read, which may be more than the reader holds.
  uint64_t Left() const { return file_size_ - reader_.position(); }

  // A count of things of at least `least` bytes each is checked against the file before anything is
  // allocated.
  Status CheckCount(uint64_t count, uint64_t least, std::string_view what) const {
    if (count <= Left() / least) return OkStatus();
    return BadInput("{} is {}, but the {} bytes that are left cannot hold so many", what, count, Left());
  }

  Status ReadStart() {
    std::string_view magic;
    FT_RETURN_IF_ERROR(reader_.ReadBytes(4, "the magic \"GGUF\"", &magic));
    if (magic != "GGUF") {
      return BadInput("the file starts with {}, where \"GGUF\" was expected{}", Quote(magic),
                      magic == "FUGG" ? " (is it big endian?)" : "");
    }
    uint32_t version = 0;
    FT_RETURN_IF_ERROR(reader_.Read(&version, "the GGUF version"));
    if (version != 0 && (version & 0xffffu) == 0) {
      return BadInput("the GGUF file is big endian (version {:#010x}), and only little endian is read",
                      version);
    }
    if (version != 2 && version != 3)
      return BadInput("the GGUF version is {}, but only 2 and 3 are read", version);
    FT_RETURN_IF_ERROR(reader_.Read(&tensor_count_, "the tensor count"));
    FT_RETURN_IF_ERROR(reader_.Read(&metadata_count_, "the metadata count"));
    FT_RETURN_IF_ERROR(CheckCount(metadata_count_, 8 + 4 + 1, "the metadata count"));
    return CheckCount(tensor_count_, 8 + 4 + 8 + 4 + 8, "the tensor count");
  }

  Status ReadText(std::string_view what, std::string_view* text) {
    uint64_t length = 0;
    FT_RETURN_IF_ERROR(reader_.Read(&length, what));
    if (length > Left()) {
      return BadInput("{} has the length {} at byte {}, but only {} bytes are left", what, length,
                      reader_.position() - 8, Left());
    }
    return reader_.ReadBytes(length, what, text);
  }

  Status ReadName(std::string_view what, std::string* name) {
    std::string_view text;
    FT_RETURN_IF_ERROR(ReadText(what, &text));
    if (text.empty() || text.size() > kMaxNameLength) {
      return BadInput("{} must have 1 to {} bytes, but has {}", what, kMaxNameLength, text.size());
    }
    if (base::ValidUtf8Prefix(text) != text.size())
      return BadInput("{}, {}, is not UTF-8", what, Quote(text));
    *name = text;
    return OkStatus();
  }

  Status ReadPair(uint64_t i) {
    std::string key;
    FT_RETURN_IF_ERROR(ReadName(fmt::format("metadata key {} of {}", i + 1, metadata_count_), &key));
    if (header_.metadata.Has(key)) return BadInput("metadata key {} appears twice", Quote(key));
    uint32_t type = 0;
    MetaValue value;
    FT_RETURN_IF_ERROR(reader_.Read(&type, "its type").WithContext("metadata key " + Quote(key)));
    FT_RETURN_IF_ERROR(ReadValue(type, &value).WithContext("metadata key " + Quote(key)));
    if (key == "general.alignment") FT_RETURN_IF_ERROR(SetAlignment(type, value));
    header_.metadata.Set(std::move(key), std::move(value));
    return OkStatus();
  }

  Status SetAlignment(uint32_t type, const MetaValue& value) {
    if (type != kUint32)
      return BadInput("\"general.alignment\" must be of type uint32, but has value type {}", type);
    alignment_ = static_cast<uint64_t>(std::get<int64_t>(value));
    if (alignment_ < 8 || alignment_ > kMaxAlignment || !std::has_single_bit(alignment_)) {
      return BadInput("\"general.alignment\" must be a power of two from 8 to {}, but is {}", kMaxAlignment,
                      alignment_);
    }
    return OkStatus();
  }

  Status ReadValue(uint32_t type, MetaValue* value) {
    switch (type) {
      case kUint8:
        return ReadScalar<uint8_t, int64_t>(value);
      case kInt8:
        return ReadScalar<int8_t, int64_t>(value);
      case kUint16:
        return ReadScalar<uint16_t, int64_t>(value);
      case kInt16:
        return ReadScalar<int16_t, int64_t>(value);
      case kUint32:
        return ReadScalar<uint32_t, int64_t>(value);
      case kInt32:
        return ReadScalar<int32_t, int64_t>(value);
      case kUint64:
        return ReadScalar<uint64_t, int64_t>(value);
      case kInt64:
        return ReadScalar<int64_t, int64_t>(value);
      case kFloat32:
        return ReadScalar<float, double>(value);
      case kFloat64:
        return ReadScalar<double, double>(value);
      case kBoolean:
        return ReadScalar<uint8_t, bool>(value);
      case kString:
        return ReadScalar<std::string_view, std::string>(value);
      case kArray:
        return ReadArray(value);
      default:
        return BadInput("the value type {} does not exist", type);
    }
  }

  // One value stored as Stored and kept as Kept.
  template <typename Stored, typename Kept>
  Status ReadOne(Kept* kept) {
    if constexpr (std::is_same_v<Stored, std::string_view>) {
      std::string_view text;
      FT_RETURN_IF_ERROR(ReadText("a string", &text));
      *kept = Kept(text);
    } else {
      Stored stored{};
      FT_RETURN_IF_ERROR(reader_.Read(&stored, "the value"));
      if constexpr (std::is_same_v<Stored, uint64_t>) {
        if (stored > uint64_t{INT64_MAX}) return BadInput("the value {} does not fit into 63 bits", stored);
      }
      if constexpr (std::is_same_v<Kept, bool>) {
        if (stored > 1) return BadInput("a boolean must be 0 or 1, but is {}", stored);
      }
      *kept = static_cast<Kept>(stored);
    }
    return OkStatus();
  }

  template <typename Stored, typename Kept>
  Status ReadScalar(MetaValue* value) {
    Kept kept{};
    FT_RETURN_IF_ERROR((ReadOne<Stored, Kept>(&kept)));
    *value = std::move(kept);
    return OkStatus();
  }

  Status ReadArray(MetaValue* value) {
    uint32_t type = 0;
    uint64_t count = 0;
    FT_RETURN_IF_ERROR(reader_.Read(&type, "the type of the array"));
    FT_RETURN_IF_ERROR(reader_.Read(&count, "the length of the array"));
    if (type == kArray) return BadInput("it is an array of arrays, which is not supported");
    if (LeastBytes(type) == 0) return BadInput("the value type {} does not exist", type);
    FT_RETURN_IF_ERROR(CheckCount(count, LeastBytes(type), "the length of the array"));
    if (count > kMaxArrayElements - array_elements_) {
      return BadInput("an array of {} elements brings all arrays above the limit of {}", count,
                      kMaxArrayElements);
    }
    array_elements_ += count;
    switch (type) {
      case kUint8:
        return ReadElements<uint8_t, int64_t>(count, value);
      case kInt8:
        return ReadElements<int8_t, int64_t>(count, value);
      case kUint16:
        return ReadElements<uint16_t, int64_t>(count, value);
      case kInt16:
        return ReadElements<int16_t, int64_t>(count, value);
      case kUint32:
        return ReadElements<uint32_t, int64_t>(count, value);
      case kInt32:
        return ReadElements<int32_t, int64_t>(count, value);
      case kUint64:
        return ReadElements<uint64_t, int64_t>(count, value);
      case kInt64:
        return ReadElements<int64_t, int64_t>(count, value);
      case kFloat32:
        return ReadElements<float, double>(count, value);
      case kFloat64:
        return ReadElements<double, double>(count, value);
      case kBoolean:
        return ReadElements<uint8_t, bool>(count, value);
      default:
        return ReadElements<std::string_view, std::string>(count, value);
    }
  }

  template <typename Stored, typename Kept>
  Status ReadElements(uint64_t count, MetaValue* value) {
    std::vector<Kept> kept;
    // The rest may not have been handed over yet, so what is there bounds what is reserved.
    kept.reserve(std::min<uint64_t>(count, reader_.remaining()));
    for (uint64_t i = 0; i < count; ++i) {
      Kept one{};
      Status status = ReadOne<Stored, Kept>(&one);
      if (!status.ok()) return status.WithContext(fmt::format("element {} of {}", i, count));
      kept.push_back(std::move(one));
    }
    *value = std::move(kept);
    return OkStatus();
  }

  // A model cut into several files has this key in each of them.
  Status CheckSplit() const {
    const int64_t* count = header_.metadata.Find<int64_t>("split.count");
    if (count == nullptr || *count <= 1) return OkStatus();
    return BadInput(
        "the file is one of {} parts of a model; join them into one file first (gguf-split --merge)", *count);
  }

  Status ReadTensor(uint64_t i) {
    TensorInfo info;
    FT_RETURN_IF_ERROR(
        ReadName(fmt::format("the name of tensor {} of {}", i + 1, tensor_count_), &info.name));
    if (!names_.insert(info.name).second) return BadInput("tensor {} appears twice", Quote(info.name));
    FT_RETURN_IF_ERROR(ReadTensorFields(&info).WithContext("tensor " + Quote(info.name)));
    header_.tensors.push_back(std::move(info));
    return OkStatus();
  }

  Status ReadTensorFields(TensorInfo* info) {
    uint32_t rank = 0;
    FT_RETURN_IF_ERROR(reader_.Read(&rank, "the number of dimensions"));
    if (rank < 1 || rank > kMaxRank)
      return BadInput("it has {} dimensions, but must have 1 to {}", rank, kMaxRank);
    info->shape.resize(rank);
    int64_t elements = 1;
    for (uint32_t d = 0; d < rank; ++d) {
      uint64_t dimension = 0;
      FT_RETURN_IF_ERROR(reader_.Read(&dimension, "a dimension"));
      if (dimension == 0) return BadInput("dimension {} is zero", d);
      if (__builtin_mul_overflow(elements, dimension, &elements)) {
        return BadInput("its dimensions multiply to more than 63 bits (dimension {} is {})", d, dimension);
      }
      info->shape[rank - 1 - d] = static_cast<int64_t>(dimension);  // GGUF has the innermost first
    }
    uint32_t type = 0;
    FT_RETURN_IF_ERROR(reader_.Read(&type, "the type"));
    const std::optional<DType> known = GgmlType(type);
    if (!known) {
      return BadInput(
          "{} is not supported (F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K are)",
          GgmlTypeName(type));
    }
    info->type = *known;
    const tensor::DTypeInfo& format = tensor::Info(*known);
    if (info->shape.back() % static_cast<int64_t>(format.block) != 0) {
      return BadInput("its innermost dimension {} is not a multiple of {}, the block of {}",
                      info->shape.back(), format.block, format.name);
    }
    if (__builtin_mul_overflow(static_cast<uint64_t>(elements) / format.block, uint64_t{format.bytes},
                               &info->bytes)) {
      return BadInput("its size in bytes does not fit into 64 bits");
    }
    return reader_.Read(&info->offset, "the data offset");
  }

  // Makes offsets count from the start of the file and checks that each tensor lies inside it, alone.
  Status PlaceTensors() {
    std::vector<TensorInfo>& tensors = header_.tensors;
    const uint64_t start = (reader_.position() + alignment_ - 1) / alignment_ * alignment_;
    for (TensorInfo& info : tensors) {
      const std::string name = Quote(info.name);
      if (info.offset % alignment_ != 0) {
        return BadInput("tensor {} has the offset {}, which is not a multiple of the alignment {}", name,
                        info.offset, alignment_);
      }
      uint64_t end;
      if (__builtin_add_overflow(info.offset, start, &info.offset) ||
          __builtin_add_overflow(info.offset, info.bytes, &end) || end > file_size_) {
        return BadInput(
            "tensor {} of {} bytes goes past the end of the file, which has {} bytes (was it cut short?)",
            name, info.bytes, file_size_);
      }
    }
    std::vector<const TensorInfo*> by_offset;
    for (const TensorInfo& info : tensors) by_offset.push_back(&info);
    std::sort(by_offset.begin(), by_offset.end(),
              [](const TensorInfo* a, const TensorInfo* b) { return a->offset < b->offset; });
    for (size_t i = 1; i < by_offset.size(); ++i) {
      const TensorInfo &before = *by_offset[i - 1], &after = *by_offset[i];
      if (before.offset + before.bytes > after.offset) {
        return BadInput("tensors {} and {} overlap: the first ends at byte {}, the second begins at byte {}",
                        Quote(before.name), Quote(after.name), before.offset + before.bytes, after.offset);
      }
    }
    return OkStatus();
  }

  ByteReader reader_;
  uint64_t file_size_;
  uint64_t tensor_count_ = 0, metadata_count_ = 0;
  uint64_t alignment_ = kDefaultAlignment;
  uint64_t array_elements_ = 0;
  std::unordered_set<std::string> names_;
  GgufHeader header_;
};

}  // namespace

Result<GgufHeader> ParseGguf(std::span<const uint8_t> bytes, uint64_t file_size, bool* needs_more) {
  FT_CHECK(bytes.size() <= file_size);
  Parser parser(bytes, file_size);
  Result<GgufHeader> header = parser.Parse();
  *needs_more = parser.ran_out() && bytes.size() < file_size;
  return header;
}

}  // namespace fusiontree::checkpoint
