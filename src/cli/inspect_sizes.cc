#include "cli/inspect_sizes.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "cache/block_pool.h"
#include "kernels/table.h"
#include "models/sharding.h"
#include "parallel/tree.h"

namespace fusiontree::cli {
namespace {

// Bytes of one element of a matrix in memory.
int64_t MatrixBytes(tensor::DType type, const std::string& dtype) {
  if (dtype == "bf16") return 2;
  if (tensor::IsQuantised(type)) return dtype == "f32" ? 4 : 2;
  return static_cast<int64_t>(tensor::Info(type).bytes);
}

}  // namespace

MemoryNeed NeedOf(const checkpoint::Checkpoint& checkpoint, const models::Spec& spec,
                  const std::string& dtype, const std::string& kv, int64_t context, int64_t batch) {
  MemoryNeed need;
  std::map<int64_t, int64_t> by_size;  // elements of matrices by their bytes
  bool all_bf16_inputs = true;
  for (const models::TensorRule& rule : spec.Rules(checkpoint.format())) {
    const base::Result<const checkpoint::TensorInfo*> found = models::FindTensor(checkpoint, rule);
    if (!found.ok()) continue;  // named when it is loaded
    const checkpoint::TensorInfo& tensor = **found;
    const bool matrix = rule.shape.size() == 2 && !rule.f32_only;
    const int64_t bytes = matrix ? MatrixBytes(tensor.type, dtype) : 4;
    int64_t elements = 1;
    for (const int64_t size : rule.shape) elements *= size;
    // Matrices lie in panels of whole rows.
    if (matrix)
      elements = elements / rule.shape[0] *
                 ((rule.shape[0] + kernels::kPanel - 1) / kernels::kPanel * kernels::kPanel);
    need.weights += static_cast<double>(elements) * static_cast<double>(bytes);
    if (!matrix) continue;
    by_size[bytes] += elements;
    const bool rounds =
        dtype == "bf16" ||
        (dtype == "auto" && (tensor.type == tensor::DType::kBF16 || tensor::IsQuantised(tensor.type)));
    all_bf16_inputs = all_bf16_inputs && rounds;
  }
  need.weight_type = by_size.size() > 1                               ? "mixed"
                     : by_size.empty() || by_size.begin()->first == 4 ? "32 bits"
                                                                      : "16 bits";
  const bool bf16_cache = kv == "bf16" || (kv == "auto" && all_bf16_inputs);
  need.cache_type = bf16_cache ? "bf16" : "f32";
  const cache::CacheLayout layout = spec.Layout(
      *kernels::RefTable(), bf16_cache ? kernels::kAttentionBf16 : kernels::kAttentionF32, models::Shard());
  need.cache = static_cast<double>(layout.SequenceBytes(context)) * static_cast<double>(batch);
  return need;
}

base::Result<std::vector<RankShare>> SharesAt(const checkpoint::Checkpoint& checkpoint,
                                              const models::Spec& spec, int degree) {
  if (!parallel::ValidDegree(spec.config().reduction_slices, degree))
    return base::BadInput("this model cannot be cut over {} ranks, but over {}", degree,
                          fmt::join(parallel::ValidDegrees(spec.config().reduction_slices), ", "));
  const models::HeadCounts counts = spec.heads();
  const bool attends =
      !spec.Layout(*kernels::RefTable(), kernels::kAttentionBf16, models::Shard()).groups.empty();
  std::vector<RankShare> shares;
  for (int rank = 0; rank < degree; ++rank) {
    const models::Shard shard{rank, degree};
    RankShare share{.degree = degree,
                    .rank = rank,
                    .slices = spec.config().reduction_slices / degree,
                    .vocabulary = models::VocabularyRows(spec.config().vocab_size, shard)};
    if (attends) {
      share.query_heads = models::QueryHeads(counts, shard);
      share.kv_heads = models::KvHeads(counts, shard);
    }
    const cache::CacheLayout layout = spec.Layout(*kernels::RefTable(), kernels::kAttentionBf16, shard);
    share.state_bytes = layout.PageBytes(layout.groups.size());
    for (size_t g = 0; g < layout.groups.size(); ++g)
      if (layout.groups[g].window == 0) share.token_bytes += layout.PageBytes(g) / cache::kPagePositions;
    for (const models::TensorRule& rule : spec.Rules(checkpoint.format())) {
      FT_ASSIGN_OR_RETURN(const checkpoint::TensorInfo* info, models::FindTensor(checkpoint, rule));
      const uint64_t bytes = models::OwnedBytes(*info, models::OwnedPart(rule, counts, shard));
      share.bytes += bytes;
      if (rule.sharding == models::Sharding::kReplicated) share.replicated += bytes;
    }
    shares.push_back(share);
  }
  return shares;
}

base::Result<std::vector<RankShare>> LargestShares(const checkpoint::Checkpoint& checkpoint,
                                                   const models::Spec& spec) {
  std::vector<RankShare> largest;
  for (const int64_t degree : parallel::ValidDegrees(spec.config().reduction_slices)) {
    FT_ASSIGN_OR_RETURN(const std::vector<RankShare> shares,
                        SharesAt(checkpoint, spec, static_cast<int>(degree)));
    largest.push_back(*std::max_element(shares.begin(), shares.end(),
                                        [](const auto& a, const auto& b) { return a.bytes < b.bytes; }));
  }
  return largest;
}

}  // namespace fusiontree::cli
