#include "cli/inspect_sizes.h"

#include <algorithm>
#include <map>

#include "cache/block_pool.h"
#include "kernels/table.h"
#include "models/decoder/weight_map.h"
#include "parallel/tree.h"

namespace fusiontree::cli {
namespace {

using models::Sharding;

// Bytes of one element of a matrix in memory.
int64_t MatrixBytes(tensor::DType type, const std::string& dtype) {
  if (dtype == "bf16") return 2;
  if (tensor::IsQuantised(type)) return dtype == "f32" ? 4 : 2;
  return static_cast<int64_t>(tensor::Info(type).bytes);
}

}  // namespace

MemoryNeed NeedOf(const checkpoint::Checkpoint& checkpoint, const models::DecoderConfig& config,
                  const std::string& dtype, const std::string& kv, int64_t context, int64_t batch) {
  MemoryNeed need;
  std::map<int64_t, int64_t> by_size;  // elements of matrices by their bytes
  bool all_bf16_inputs = true;
  for (const checkpoint::TensorInfo& tensor : checkpoint.tensors()) {
    const bool matrix = tensor.shape.size() > 1;
    const int64_t bytes = matrix ? MatrixBytes(tensor.type, dtype) : 4;
    // Matrices lie in panels of whole rows.
    const int64_t rows =
        matrix ? (tensor.shape[0] + kernels::kPanel - 1) / kernels::kPanel * kernels::kPanel : 1;
    const int64_t elements = matrix ? tensor.elements() / tensor.shape[0] * rows : tensor.elements();
    need.weights += static_cast<double>(elements) * static_cast<double>(bytes);
    if (!matrix) continue;
    by_size[bytes] += tensor.elements();
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
  cache::CacheLayout layout;
  std::map<int64_t, cache::CacheLayout::Group> groups;
  for (size_t i = 0; i < config.windows.size(); ++i) {
    groups[config.windows[i]].window = config.windows[i];
    groups[config.windows[i]].layers.push_back(static_cast<int>(i));
  }
  for (auto& [window, group] : groups) layout.groups.push_back(std::move(group));
  layout.kv_heads = config.num_kv_heads;
  layout.block_bytes = kernels::RefTable()
                           ->attention[bf16_cache ? kernels::kAttentionBf16 : kernels::kAttentionF32]
                           .block_bytes(config.head_dim);
  need.cache = static_cast<double>(layout.SequenceBytes(context)) * static_cast<double>(batch);
  return need;
}

base::Result<std::vector<RankShare>> RankShares(const checkpoint::Checkpoint& checkpoint,
                                                const models::DecoderConfig& config) {
  const bool gguf = checkpoint.format() == checkpoint::Checkpoint::Format::kGguf;
  const std::vector<models::TensorRule> rules =
      models::MakeDecoderRules(config, gguf && config.family == "llama").All();
  std::vector<std::pair<Sharding, uint64_t>> tensors;
  for (const models::TensorRule& rule : rules) {
    FT_ASSIGN_OR_RETURN(const checkpoint::TensorInfo* info, models::FindTensor(checkpoint, rule));
    tensors.emplace_back(rule.sharding, info->bytes);
  }
  std::vector<RankShare> shares;
  for (const int64_t degree : parallel::ValidDegrees(config.reduction_slices)) {
    RankShare share{.degree = degree};
    const auto part = [degree](int64_t n) { return (n + degree - 1) / degree; };
    share.query_heads = part(config.num_heads);
    share.kv_heads = part(config.num_kv_heads);
    share.slices = part(config.reduction_slices);
    const int64_t blocks = (config.vocab_size + kernels::kVocabBlock - 1) / kernels::kVocabBlock;
    share.vocabulary_rows = std::min(config.vocab_size, part(blocks) * kernels::kVocabBlock);
    uint64_t replicated = 0;
    for (const auto& [sharding, bytes] : tensors) {
      double owned = 1;
      switch (sharding) {
        case Sharding::kReplicated:
          break;
        case Sharding::kRows:
        case Sharding::kColumns:
          owned = 1.0 / static_cast<double>(degree);
          break;
        case Sharding::kQueryHeads:
          owned = static_cast<double>(share.query_heads) / static_cast<double>(config.num_heads);
          break;
        case Sharding::kKvHeads:
          owned = static_cast<double>(share.kv_heads) / static_cast<double>(config.num_kv_heads);
          break;
        case Sharding::kVocabulary:
          owned = static_cast<double>(share.vocabulary_rows) / static_cast<double>(config.vocab_size);
          break;
      }
      share.bytes += static_cast<uint64_t>(static_cast<double>(bytes) * owned + 0.5);
      if (sharding == Sharding::kReplicated) replicated += bytes;
    }
    share.replicated =
        share.bytes > 0 ? static_cast<double>(replicated) / static_cast<double>(share.bytes) : 0;
    shares.push_back(share);
  }
  return shares;
}

}  // namespace fusiontree::cli
