// What training needs of the store: gradients, transposed matrices, and new values in the old places.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "models/weight_packer.h"

namespace fusiontree::models {

int64_t Parameter::elements() const {
  int64_t n = 1;
  for (const int64_t size : shape) n *= size;
  return n;
}

base::Status WeightStore::PrepareTraining(ops::Context& context) {
  if (shard_.degree > 1)
    return base::BadInput("a model that is cut over {} ranks cannot be trained", shard_.degree);
  std::map<std::string, std::pair<Parameter, Place>> found;
  const auto place = [&](const checkpoint::TensorInfo& info) -> Place& {
    auto& [parameter, at] = found[info.name];
    parameter.name = info.name;
    parameter.shape.assign(info.shape.begin(), info.shape.end());
    return at;
  };
  size_t floats = 0, bytes = 0;
  for (size_t i = 0; i < matrices_.size(); ++i) {
    Stacked& stacked = matrices_[i];
    const ops::Matrix& m = stacked.matrix;
    if (m.kind == kernels::kF16F32)
      return base::BadInput("{}: a tensor of type f16 cannot be trained: {}", checkpoint_.path(),
                            stacked.parts[0].tensor->name);
    for (size_t part = 0; part < stacked.parts.size(); ++part) {
      if (stacked.parts[part].rule.interleaved_head > 0)
        return base::BadInput("{}: a GGUF file cannot be trained", checkpoint_.path());
      place(*stacked.parts[part].tensor).parts.emplace_back(i, part);
      found[stacked.parts[part].tensor->name].first.matrix = true;
      if (stacked.biases.empty()) continue;
      FT_ASSIGN_OR_RETURN(const checkpoint::TensorInfo* bias, FindTensor(checkpoint_, stacked.biases[part]));
      place(*bias).biases.emplace_back(i, part);
    }
    stacked.gradient = std::make_unique<ops::MatrixGradient>();
    ops::Matrix& t = stacked.gradient->transposed;
    t.kind = m.kind;
    t.k = m.panels * kernels::kPanel;
    t.panels = ops::PaddedColumns(m.k) / kernels::kPanel;
    stacked.transposed_offset = bytes;
    bytes += static_cast<size_t>(t.panels) * table_.matrix[t.kind].panel_bytes(t.k, 1);
    floats += static_cast<size_t>(t.k * t.panels * kernels::kPanel + (stacked.biases.empty() ? 0 : t.k));
  }
  for (size_t i = 0; i < vectors_.size(); ++i) {
    place(*vectors_[i].tensor).vector = i;
    floats += vectors_[i].values.size();
  }
  FT_ASSIGN_OR_RETURN(transposed_, tensor::Buffer::Create(bytes));
  FT_ASSIGN_OR_RETURN(gradients_, tensor::Buffer::Create(floats * sizeof(float)));
  float* next = reinterpret_cast<float*>(gradients_.data());
  for (Stacked& stacked : matrices_) {
    ops::Matrix& t = stacked.gradient->transposed;
    t.data = transposed_.data() + stacked.transposed_offset;
    stacked.gradient->weight = next;
    next += t.k * t.panels * kernels::kPanel;
    if (!stacked.biases.empty()) {
      stacked.gradient->bias = next;
      next += t.k;
    }
    stacked.matrix.gradient = stacked.gradient.get();
  }
  for (Vector& vector : vectors_) {
    vector.gradient = next;
    next += vector.values.size();
  }
  for (auto& [name, entry] : found) {
    parameters_.push_back(std::move(entry.first));
    places_.push_back(std::move(entry.second));
  }
  ZeroGradients(context);
  return base::OkStatus();
}

void WeightStore::ZeroGradients(ops::Context& context) {
  context.For(static_cast<int64_t>(gradients_.size()), 4096, 1, [&](int, base::Range share) {
    std::memset(gradients_.data() + share.begin, 0, static_cast<size_t>(share.end - share.begin));
  });
}

void WeightStore::ReadGradient(size_t parameter, float* out) const {
  const Place& at = places_[parameter];
  for (const auto& [index, number] : at.parts) {
    const Stacked& stacked = matrices_[index];
    const Part& part = stacked.parts[number];
    const int64_t width = ops::PaddedColumns(stacked.matrix.k), file_width = part.rule.shape[1];
    const base::Range columns = part.owned.columns;
    for (int64_t r = part.owned.rows.begin; r < part.owned.rows.end; ++r)
      std::copy_n(stacked.gradient->weight + StackRow(part, r - part.owned.rows.begin) * width,
                  columns.end - columns.begin, out + (part.rule.first_row + r) * file_width + columns.begin);
  }
  for (const auto& [index, number] : at.biases) {
    const Stacked& stacked = matrices_[index];
    const Part& part = stacked.parts[number];
    const int64_t first = stacked.biases[number].first_row;
    for (int64_t r = 0; r < part.owned.rows.end - part.owned.rows.begin; ++r)
      out[first + r] = stacked.gradient->bias[StackRow(part, r)];
  }
  if (at.vector == kNone) return;
  const Vector& vector = vectors_[at.vector];
  if (vector.form == Form::kAsStored) {
    std::copy_n(vector.gradient, vector.values.size(), out);
    return;
  }
  constexpr float kLn2 = 0.693147182f;
  const int64_t padded = ops::PaddedColumns(vector.rows);
  for (int64_t r = 0; r < vector.rows; ++r)
    for (int64_t c = 0; c < vector.columns; ++c) {
      const size_t from = static_cast<size_t>(c * padded + r);
      const float g = vector.gradient[from];
      // Of A_log: A = -exp(A_log) = a ln 2 is its own derivative.
      out[r * vector.columns + c] = vector.form == Form::kDecay ? g * (vector.values[from] * kLn2) : g;
    }
}

void WeightStore::PackTransposed(ops::Context& context, const Stacked& stacked) {
  const ops::Context::Scope scope(context);
  const ops::Matrix &m = stacked.matrix, &t = stacked.gradient->transposed;
  const kernels::MatrixOps& ops = table_.matrix[m.kind];
  const size_t from_panel = ops.panel_bytes(m.k, m.slices), to_panel = ops.panel_bytes(t.k, 1);
  const tensor::DType type = StoredType(m.kind);
  const size_t element = tensor::BytesFor(type, 1);
  const int64_t inputs = t.panels * kernels::kPanel;
  char* turned = static_cast<char*>(context.scratch().Take(static_cast<size_t>(inputs * t.k) * element));
  float* rows = context.scratch().TakeArray<float>(context.pool().size() * m.k);
  context.For(t.k, kernels::kPanel, 1, [&](int thread, base::Range share) {
    float* row = rows + thread * m.k;
    for (int64_t r = share.begin; r < share.end; ++r) {
      ops.unpack_row(m.data + static_cast<size_t>(r / kernels::kPanel) * from_panel, r % kernels::kPanel, m.k,
                     m.slices, row);
      for (int64_t c = 0; c < m.k; ++c) {
        char* to = turned + static_cast<size_t>(c * t.k + r) * element;
        if (type == tensor::DType::kF32) {
          std::memcpy(to, row + c, sizeof(float));
        } else {
          const uint16_t half = tensor::FloatToBf16(row[c]);  // exact
          std::memcpy(to, &half, sizeof(half));
        }
      }
    }
  });
  std::byte* data = transposed_.data() + stacked.transposed_offset;
  context.For(t.panels, 1, 1, [&](int, base::Range share) {
    for (int64_t p = share.begin; p < share.end; ++p) {
      const int64_t first = p * kernels::kPanel;
      FT_CHECK(ops.pack_weight(turned + static_cast<size_t>(first * t.k) * element,
                               static_cast<size_t>(t.k) * element, std::min(kernels::kPanel, m.k - first),
                               t.k, 1, data + static_cast<size_t>(p) * to_panel));
    }
  });
}

base::Status WeightStore::Refresh(ops::Context& context, const std::vector<const float*>& values) {
  FT_CHECK(values.size() == parameters_.size());
  for (size_t i = 0; i < places_.size(); ++i) {
    const Place& at = places_[i];
    for (const auto& [index, number] : at.parts) {
      Stacked& stacked = matrices_[index];
      const Part& part = stacked.parts[number];
      std::atomic<bool> finite{true};
      context.For(part.panels, 1, 1, [&](int, base::Range share) {
        if (!Packer(*this, stacked, part, values[i])
                 .Pack(buffer_.data() + stacked.offset, share.begin, share.end)
                 .ok())
          finite.store(false);
      });
      if (!finite.load()) return base::Failed("the parameter {} is not finite", parameters_[i].name);
    }
    for (const auto& [index, number] : at.biases) {
      Stacked& stacked = matrices_[index];
      const Part& part = stacked.parts[number];
      const int64_t first = stacked.biases[number].first_row;
      for (int64_t r = 0; r < part.owned.rows.end - part.owned.rows.begin; ++r)
        stacked.bias[static_cast<size_t>(StackRow(part, r))] = values[i][first + r];
    }
    if (at.vector != kNone) Shape(values[i], &vectors_[at.vector]);
    if (!at.parts.empty()) continue;
    for (int64_t e = 0; e < parameters_[i].elements(); ++e)
      if (!std::isfinite(values[i][e]))
        return base::Failed("the parameter {} is not finite", parameters_[i].name);
  }
  for (const Stacked& stacked : matrices_) PackTransposed(context, stacked);
  return base::OkStatus();
}

}  // namespace fusiontree::models
