#include "verify/dump.h"

#include <algorithm>
#include <span>
#include <utility>

#include "base/bytes.h"
#include "checkpoint/input_file.h"
#include "checkpoint/safetensors.h"
#include "tensor/dequantise.h"

namespace fusiontree::verify {
namespace {

using base::BadInput;
using base::Quote;
using base::Result;
using base::Status;
using checkpoint::InputFile;
using checkpoint::TensorInfo;

class Reader {
 public:
  static Result<Reader> Open(const std::string& path) {
    FT_ASSIGN_OR_RETURN(InputFile file, InputFile::Open(path));
    uint8_t start[checkpoint::kSafetensorsPrefix] = {};
    const size_t present = static_cast<size_t>(std::min<uint64_t>(sizeof(start), file.size()));
    FT_RETURN_IF_ERROR(file.ReadAt(0, present, start));
    const Result<uint64_t> size = checkpoint::SafetensorsHeaderSize(std::span(start, present), file.size());
    if (!size.ok()) return size.status().WithContext(Quote(path));
    std::string header(*size, '\0');
    FT_RETURN_IF_ERROR(file.ReadAt(checkpoint::kSafetensorsPrefix, *size, header.data()));
    const uint64_t data = checkpoint::kSafetensorsPrefix + *size;
    Result<std::vector<TensorInfo>> tensors =
        checkpoint::ParseSafetensorsHeader(header, data, file.size() - data);
    if (!tensors.ok()) return tensors.status().WithContext(Quote(path));
    return Reader(std::move(file), std::move(tensors).value());
  }

  bool Has(const std::string& name) const { return Find(name) != nullptr; }
  size_t size() const { return tensors_.size(); }
  // Tensors taken so far: at the end it must be all of them.
  size_t taken() const { return taken_; }

  Status Ids(const std::string& name, std::vector<int32_t>* out) {
    const TensorInfo* info = Find(name);
    if (!info) return Missing(name);
    if (info->shape.size() != 1 || info->type != tensor::DType::kI64 || info->elements() < 1)
      return BadInput("{}: {} is {} {}, expected I64 [T]", Quote(file_.path()), name,
                      tensor::Info(info->type).name, info->ShapeString());
    std::vector<int64_t> wide(static_cast<size_t>(info->elements()));
    FT_RETURN_IF_ERROR(file_.ReadAt(info->offset, info->bytes, wide.data()));
    for (const int64_t id : wide) {
      if (id < 0 || id > INT32_MAX)
        return BadInput("{}: {} holds {}, no token id", Quote(file_.path()), name, id);
      out->push_back(static_cast<int32_t>(id));
    }
    ++taken_;
    return base::OkStatus();
  }
  Status Values(const std::string& name, int64_t rows, int64_t* columns, std::vector<float>* out) {
    const TensorInfo* info = Find(name);
    if (!info) return Missing(name);
    const tensor::DTypeInfo& type = tensor::Info(info->type);
    if (info->shape.size() != 2 || info->shape[0] != rows || info->shape[1] < 1 || !type.is_float ||
        type.block != 1)
      return BadInput("{}: {} is {} {}, expected floats of shape [{}, ...], a row for each id",
                      Quote(file_.path()), name, type.name, info->ShapeString(), rows);
    *columns = info->shape[1];
    std::vector<std::byte> bytes(info->bytes);
    FT_RETURN_IF_ERROR(file_.ReadAt(info->offset, info->bytes, bytes.data()));
    out->resize(static_cast<size_t>(info->elements()));
    tensor::ToFloat(info->type, bytes.data(), out->size(), out->data());
    ++taken_;
    return base::OkStatus();
  }

 private:
  Reader(InputFile file, std::vector<TensorInfo> tensors)
      : file_(std::move(file)), tensors_(std::move(tensors)) {}
  const TensorInfo* Find(const std::string& name) const {
    for (const TensorInfo& tensor : tensors_)
      if (tensor.name == name) return &tensor;
    return nullptr;
  }
  Status Missing(const std::string& name) const {
    return BadInput("{} has no tensor {}, expected the format of `fusiontree logits`", Quote(file_.path()),
                    name);
  }
  InputFile file_;
  std::vector<TensorInfo> tensors_;
  size_t taken_ = 0;
};

Result<Dump> ReadOne(Reader* reader, const std::string& suffix) {
  Dump out;
  FT_RETURN_IF_ERROR(reader->Ids("ids" + suffix, &out.ids));
  const int64_t rows = static_cast<int64_t>(out.ids.size());
  FT_RETURN_IF_ERROR(reader->Values("logits" + suffix, rows, &out.vocab_size, &out.logits));
  const auto hidden = [&] { return fmt::format("hidden{}_{}", suffix, out.hidden.size()); };
  while (reader->Has(hidden())) {
    int64_t columns = 0;
    std::vector<float> values;
    FT_RETURN_IF_ERROR(reader->Values(hidden(), rows, &columns, &values));
    out.hidden.push_back(std::move(values));
  }
  return out;
}

}  // namespace

Result<std::vector<Dump>> ReadDumps(const std::string& path) {
  FT_ASSIGN_OR_RETURN(Reader reader, Reader::Open(path));
  std::vector<Dump> out;
  if (reader.Has("ids")) {
    FT_ASSIGN_OR_RETURN(Dump dump, ReadOne(&reader, ""));
    out.push_back(std::move(dump));
  } else {
    do {
      FT_ASSIGN_OR_RETURN(Dump dump, ReadOne(&reader, fmt::format("_{}", out.size())));
      out.push_back(std::move(dump));
    } while (reader.Has(fmt::format("ids_{}", out.size())));
  }
  if (reader.taken() != reader.size())
    return BadInput("{} holds {} tensors, of which {} are of the format of `fusiontree logits`", Quote(path),
                    reader.size(), reader.taken());
  return out;
}

}  // namespace fusiontree::verify
