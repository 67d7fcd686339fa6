#include "ops/tape.h"

#include <cstring>
#include <utility>

#include "base/check.h"
#include "ops/context.h"

namespace fusiontree::ops {

void Tape::Declare(const float* value, int64_t floats) {
  FT_CHECK(Find(value) == arrays_.end());
  arrays_[value].floats = floats;
  declared_.push_back(value);
}

Tape::Arrays::iterator Tape::Find(const float* value) {
  Arrays::iterator after = arrays_.upper_bound(value);
  if (after == arrays_.begin()) return arrays_.end();
  --after;
  return value < after->first + after->second.floats ? after : arrays_.end();
}

tensor::Buffer Tape::TakeBuffer(size_t bytes) {
  const auto found = free_.lower_bound(bytes);
  if (found != free_.end() && found->first <= 2 * bytes) {
    tensor::Buffer buffer = std::move(found->second);
    free_.erase(found);
    return buffer;
  }
  base::Result<tensor::Buffer> buffer = tensor::Buffer::Create(bytes);
  FT_CHECK(buffer.ok());
  return std::move(buffer).value();
}

float* Tape::Gradient(const float* value) {
  const Arrays::iterator found = Find(value);
  if (found == arrays_.end()) return nullptr;
  Array& array = found->second;
  const size_t bytes = static_cast<size_t>(array.floats) * sizeof(float);
  if (!array.flows) {
    array.gradient = TakeBuffer(bytes);
    array.flows = true;
    std::memset(array.gradient.data(), 0, bytes);
  }
  return reinterpret_cast<float*>(array.gradient.data()) + (value - found->first);
}

float* Tape::WholeGradient(const float* value, bool* add) {
  const Arrays::iterator found = arrays_.find(value);
  if (found == arrays_.end()) {
    FT_CHECK(Find(value) == arrays_.end());
    return nullptr;
  }
  Array& array = found->second;
  *add = array.flows;
  if (!array.flows) array.gradient = TakeBuffer(static_cast<size_t>(array.floats) * sizeof(float));
  array.flows = true;
  return reinterpret_cast<float*>(array.gradient.data());
}

bool Tape::HasGradient(const float* value) const {
  const Arrays::const_iterator found = const_cast<Tape*>(this)->Find(value);
  return found != arrays_.end() && found->second.flows;
}

void Tape::Record(const float* out, std::function<void()> backward) {
  const Arrays::iterator found = Find(out);
  FT_CHECK(found != arrays_.end());
  records_.push_back({out, !found->second.written, std::move(backward)});
  found->second.written = true;
}

void Tape::Nest(std::function<void()> end) {
  records_.push_back({nullptr, false, [this, from = declared_.size(), end = std::move(end)] {
                        ForgetFrom(from);
                        end();
                      }});
}

void Tape::Drop(Context& context, float* value, std::function<void()> remake) {
  const Arrays::iterator found = arrays_.find(value);
  FT_CHECK(found != arrays_.end());
  const size_t bytes = static_cast<size_t>(found->second.floats) * sizeof(float);
  if (bytes < drop_from_) return;
  found->second.dropped = true;
  tensor::Discard(value, bytes);
  records_.push_back({nullptr, false, [this, &context, remake = std::move(remake)] {
                        context.set_tape(nullptr);
                        remake();
                        context.set_tape(this);
                      }});
}

void Tape::ForgetFrom(size_t declared) {
  for (; declared_.size() > declared; declared_.pop_back()) {
    const Arrays::iterator found = arrays_.find(declared_.back());
    if (found->second.flows) GiveBack(&found->second);
    arrays_.erase(found);
  }
}

void Tape::GiveBack(Array* array) {
  array->flows = false;
  const size_t bytes = array->gradient.size();
  free_.emplace(bytes, std::move(array->gradient));
}

void Tape::Backward() {
  while (!records_.empty()) {
    const Entry entry = std::move(records_.back());
    records_.pop_back();  // before it runs, for it may record
    if (entry.out == nullptr) {
      entry.backward();
      continue;
    }
    Array& array = Find(entry.out)->second;
    if (array.flows) {
      entry.backward();
      if (entry.first) GiveBack(&array);
    }
    if (entry.first && array.dropped)
      tensor::Discard(const_cast<float*>(entry.out), static_cast<size_t>(array.floats) * sizeof(float));
  }
  Clear();
}

void Tape::Clear() {
  records_.clear();
  for (auto& [value, array] : arrays_)
    if (array.flows) GiveBack(&array);
  arrays_.clear();
  declared_.clear();
}

}  // namespace fusiontree::ops
