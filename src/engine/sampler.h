// From a row of logits to the next token: an ordered list of processors, then a draw. The draw is keyed by
// (seed, choice, position), never by a place in a batch (R8), and no libm result reaches it (R6).
//
// Order, as in Transformers: repetition penalty, temperature, top-k, top-p, min-p.
#ifndef FUSIONTREE_ENGINE_SAMPLER_H_
#define FUSIONTREE_ENGINE_SAMPLER_H_

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "engine/api.h"
#include "kernels/table.h"

namespace fusiontree::engine {

// Names the first option that is out of range.
base::Status CheckSampling(const Sampling& sampling);

// `logits` [vocab], finite, is used as scratch. `history` holds the prompt and what was generated. Returns
// the token for position `position` of the sequence.
int32_t SampleToken(const kernels::Table& table, const Sampling& sampling, uint64_t choice, int64_t position,
                    const std::vector<int32_t>& history, float* logits, int64_t vocab);

}  // namespace fusiontree::engine

#endif  // FUSIONTREE_ENGINE_SAMPLER_H_
