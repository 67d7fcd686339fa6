// The linear layers of a model that is cut over ranks, after Megatron-LM (Shoeybi et al., 2019), with the
// sums of R2.
//
// Column-parallel (qkv, gate_up): a rank holds some of the outputs, the input is whole on every rank:
// ops::Matmul, no communication. Row-parallel (o, down): a rank holds some of the inputs; the ranks' sums are
// added by the upper levels of R2's tree. Embedding and head are cut by the vocabulary. With one rank each is
// the plain operation.
#ifndef FUSIONTREE_NN_PARALLEL_LINEAR_H_
#define FUSIONTREE_NN_PARALLEL_LINEAR_H_

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"
#include "ops/linear.h"

namespace fusiontree::nn {

// The columns of a value that this rank holds, of `total`.
struct Part {
  base::Range columns{0, 0};
  int64_t total = 0;
};

// x [T, stride] = (kStore) or += (kAdd) W · rows + b over all ranks' columns of W; the bias, on every rank,
// is added once. The result is on every rank. Cost besides the product: an exchange of T * stride floats.
void RowParallelLinear(ops::Context& context, const ops::Rows& rows, const ops::Matrix& matrix,
                       kernels::Epilogue end, float* x, int64_t stride);

// runs[r]: the rows of the vocabulary that rank r holds, in order, without gaps.
using VocabularyRuns = std::vector<base::Range>;

// x [T, stride]: row ids[t] of the embedding, of which `matrix` holds this rank's run.
void VocabParallelEmbedding(ops::Context& context, const ops::Matrix& matrix, const VocabularyRuns& runs,
                            const int32_t* ids, int64_t m, float* x, int64_t stride);

// logits [T, stride] of the whole vocabulary, on rank 0 (elsewhere left as it was).
void VocabParallelHead(ops::Context& context, const ops::Rows& rows, const ops::Matrix& matrix,
                       const VocabularyRuns& runs, float* logits, int64_t stride);

// Shows the probe the whole value [m, part.total], whose columns of this rank lie in value [m, stride]. A
// rank whose probe is not null takes part in the gathering, so all ranks have one or none.
void ObservePart(ops::Context& context, int layer, const char* op, const float* value, int64_t m,
                 int64_t stride, const Part& part);

// Shows the probe a value that every rank holds whole: rank 0's.
void ObserveWhole(ops::Context& context, int layer, const char* op, const float* value, int64_t m,
                  int64_t columns, int64_t stride);

}  // namespace fusiontree::nn

#endif  // FUSIONTREE_NN_PARALLEL_LINEAR_H_
