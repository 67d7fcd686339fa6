#include "verify/dump.h"

#include <utility>

#include "base/bytes.h"
#include "checkpoint/checkpoint.h"
#include "tensor/dequantise.h"

namespace fusiontree::verify {
namespace {

using base::BadInput;
using base::Quote;
using base::Result;
using base::Status;
using checkpoint::Checkpoint;
using checkpoint::TensorInfo;

class Reader {
 public:
  explicit Reader(const Checkpoint& file) : file_(file) {}

  bool Has(const std::string& name) const { return file_.Find(name) != nullptr; }
  // Tensors taken so far: at the end it must be all of them.
  size_t taken() const { return taken_; }

  Status Ids(const std::string& name, std::vector<int32_t>* out) {
    const TensorInfo* info = file_.Find(name);
    if (!info) return Missing(name);
    if (info->shape.size() != 1 || info->type != tensor::DType::kI64 || info->elements() < 1)
      return BadInput("{}: {} is {} {}, expected I64 [T]", Quote(file_.path()), name,
                      tensor::Info(info->type).name, info->ShapeString());
    std::vector<int64_t> wide(static_cast<size_t>(info->elements()));
    FT_RETURN_IF_ERROR(file_.Read(*info, 0, info->bytes, wide.data()));
    for (const int64_t id : wide) {
      if (id < 0 || id > INT32_MAX)
        return BadInput("{}: {} holds {}, no token id", Quote(file_.path()), name, id);
      out->push_back(static_cast<int32_t>(id));
    }
    ++taken_;
    return base::OkStatus();
  }
  Status Values(const std::string& name, int64_t rows, int64_t* columns, std::vector<float>* out) {
    const TensorInfo* info = file_.Find(name);
    if (!info) return Missing(name);
    const tensor::DTypeInfo& type = tensor::Info(info->type);
    if (info->shape.size() != 2 || info->shape[0] != rows || info->shape[1] < 1 || !type.is_float ||
        type.block != 1)
      return BadInput("{}: {} is {} {}, expected floats of shape [{}, ...], a row for each id",
                      Quote(file_.path()), name, type.name, info->ShapeString(), rows);
    *columns = info->shape[1];
    std::vector<std::byte> bytes(info->bytes);
    FT_RETURN_IF_ERROR(file_.Read(*info, 0, info->bytes, bytes.data()));
    out->resize(static_cast<size_t>(info->elements()));
    tensor::ToFloat(info->type, bytes.data(), out->size(), out->data());
    ++taken_;
    return base::OkStatus();
  }

 private:
  Status Missing(const std::string& name) const {
    return BadInput("{} has no tensor {}, expected the format of `fusiontree logits`", Quote(file_.path()),
                    name);
  }
  const Checkpoint& file_;
  size_t taken_ = 0;
};

Result<Dump> ReadOne(Reader* reader, const std::string& suffix, bool with_hidden) {
  Dump out;
  FT_RETURN_IF_ERROR(reader->Ids("ids" + suffix, &out.ids));
  const int64_t rows = static_cast<int64_t>(out.ids.size());
  FT_RETURN_IF_ERROR(reader->Values("logits" + suffix, rows, &out.vocab_size, &out.logits));
  for (int64_t k = 0; with_hidden && reader->Has(fmt::format("hidden_{}", k)); ++k) {
    int64_t columns = 0;
    out.hidden.emplace_back();
    FT_RETURN_IF_ERROR(reader->Values(fmt::format("hidden_{}", k), rows, &columns, &out.hidden.back()));
  }
  return out;
}

}  // namespace

Result<std::vector<Dump>> ReadDumps(const std::string& path) {
  FT_ASSIGN_OR_RETURN(const Checkpoint file, Checkpoint::Open(path));
  Reader reader(file);
  std::vector<Dump> out;
  if (reader.Has("ids")) {
    FT_ASSIGN_OR_RETURN(Dump dump, ReadOne(&reader, "", true));
    out.push_back(std::move(dump));
  } else {
    do {
      FT_ASSIGN_OR_RETURN(Dump dump, ReadOne(&reader, fmt::format("_{}", out.size()), false));
      out.push_back(std::move(dump));
    } while (reader.Has(fmt::format("ids_{}", out.size())));
  }
  if (reader.taken() != file.tensors().size())
    return BadInput("{} holds {} tensors, of which {} are of the format of `fusiontree logits`", Quote(path),
                    file.tensors().size(), reader.taken());
  return out;
}

}  // namespace fusiontree::verify
