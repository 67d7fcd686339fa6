// What only a training forward does (R8 of docs/numerics.md): dropout, and the layers of a document that run
// with one branch. Every draw is a function of (seed, step, global row, position, layer, purpose, channel
// group) alone, never of a place in a batch.
#ifndef FUSIONTREE_OPS_REGULARISE_H_
#define FUSIONTREE_OPS_REGULARISE_H_

#include <cstdint>
#include <vector>

#include "ops/context.h"

namespace fusiontree::ops {

enum class Purpose : uint8_t { kEmbedding = 1, kAttention = 2, kMlp = 3, kBranch = 4, kWindow = 5 };

// Of the rows of one batch; in the context of a training forward.
struct Regularisation {
  uint64_t seed = 0;
  int64_t step = 0;
  double dropout = 0.0;         // probability of an element
  double drop_branch = 0.0;     // probability of a document in a layer
  int64_t window_size = 0;      // instead of the config's; 0: the config's
  std::vector<int64_t> row;     // [T]: the packed row of the step
  std::vector<int64_t> column;  // [T]: the token in it
  std::vector<int64_t> begin;   // [T]: the column where its document begins

  // 64 random bits.
  uint64_t Draw(int64_t of_row, int64_t of_column, int layer, Purpose purpose, int64_t group = 0) const;
};

// x [m, stride], columns [0, n): an element is zero with the context's probability of dropout, else divided
// by that of staying; nothing without regularisation. Probabilities are multiples of 1/65536.
void Dropout(Context& context, int layer, Purpose purpose, float* x, int64_t stride, int64_t m, int64_t n);

// Which branches of a layer the documents of the rows run with; empty: all with both.
enum class Kept : uint8_t { kBoth, kMamba, kAttention };
std::vector<Kept> KeptBranches(const Context& context, int layer);
// Rows of x [m, stride] whose documents have lost that branch become zero, by selection.
void DropBranch(Context& context, const std::vector<Kept>& kept, Kept survivor, float* x, int64_t stride);
// Gates [m, stride], columns [0, n), of documents with one branch become 1 (Mamba's) or 0.
void ForceGates(Context& context, const std::vector<Kept>& kept, float* gate, int64_t stride, int64_t n);

}  // namespace fusiontree::ops

#endif  // FUSIONTREE_OPS_REGULARISE_H_
