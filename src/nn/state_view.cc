#include "nn/state_view.h"

#include <algorithm>

#include "base/check.h"

namespace fusiontree::nn {

static_assert(cache::kStatePanel == kernels::kPanel);

std::vector<ops::StateSpan> StatesOfBatch(const cache::Batch& batch, size_t index) {
  std::vector<ops::StateSpan> spans;
  spans.reserve(batch.spans.size());
  for (const cache::Span& span : batch.spans) {
    // R11: the state is the one before this span's first row.
    FT_CHECK(span.sequence->length() == span.first_position + span.count);
    if (index == kNoState) {
      spans.push_back({span.first_row, span.count, nullptr, 0});
      continue;
    }
    const cache::CacheLayout::State& state = span.sequence->pool().layout().states[index];
    spans.push_back({span.first_row, span.count, span.sequence->state(index),
                     static_cast<int64_t>(cache::CacheLayout::StateStride(state))});
  }
  return spans;
}

SavedLayerStates::SavedLayerStates(const cache::Batch& batch, int layer) {
  for (const cache::Span& span : batch.spans) {
    const std::vector<cache::CacheLayout::State>& states = span.sequence->pool().layout().states;
    for (size_t i = 0; i < states.size(); ++i) {
      if (states[i].layer != layer) continue;
      float* state = span.sequence->state(i);
      const size_t floats = static_cast<size_t>(states[i].rows) * cache::CacheLayout::StateStride(states[i]);
      Saved& saved = states_.emplace_back(Saved{state, floats, {}});
      if (std::any_of(state, state + floats, [](float value) { return value != 0.0f; }))
        saved.values.assign(state, state + floats);
    }
  }
}

void SavedLayerStates::Restore() const {
  for (const Saved& saved : states_) {
    if (saved.values.empty()) {
      std::fill_n(saved.state, saved.floats, 0.0f);
    } else {
      std::copy(saved.values.begin(), saved.values.end(), saved.state);
    }
  }
}

}  // namespace fusiontree::nn
