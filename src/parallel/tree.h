// The upper levels of R2's tree: ranks own whole subtrees of the reduction slices, and their sums are added
// by the rest of the same tree, so every valid number of ranks gives the same bits.
#ifndef FUSIONTREE_PARALLEL_TREE_H_
#define FUSIONTREE_PARALLEL_TREE_H_

#include <cstdint>
#include <vector>

namespace fusiontree::parallel {

// out[i] = the tree over parts[0][i] ... parts[ranks - 1][i] for begin <= i < end, in fp32: halves while the
// count is even; an odd group is added left to right. parts [ranks][>= end], out [>= end]; out overlaps none
// of the parts. Elements are independent, so threads may share a range in any way.
void SumTree(const float* const* parts, int ranks, int64_t begin, int64_t end, float* out);

// The numbers of ranks at which each owns a whole subtree of the tree over `slices`: powers of two while the
// count is even, then `slices` itself. 8: 1, 2, 4, 8; 6: 1, 2, 6; 3: 1, 3. Ascending.
std::vector<int64_t> ValidDegrees(int64_t slices);
bool ValidDegree(int64_t slices, int degree);

}  // namespace fusiontree::parallel

#endif  // FUSIONTREE_PARALLEL_TREE_H_
