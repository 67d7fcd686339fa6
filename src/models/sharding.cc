#include "models/sharding.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/check.h"
#include "kernels/table.h"
#include "parallel/tree.h"
#include "tensor/dtype.h"

namespace fusiontree::models {
namespace {

base::Range Even(int64_t n, Shard shard) {
  FT_CHECK(n % shard.degree == 0);
  const int64_t each = n / shard.degree;
  return {each * shard.rank, each * (shard.rank + 1)};
}

base::Range UpTo(base::Range range, int64_t end) {
  return {std::min(range.begin, end), std::min(range.end, end)};
}

}  // namespace

base::Result<Shard> ShardOf(const checkpoint::Checkpoint& checkpoint, int64_t slices,
                            const ops::Context& context) {
  const Shard shard{context.ranks() > 1 ? context.communicator().rank() : 0, context.ranks()};
  if (!parallel::ValidDegree(slices, shard.degree)) {
    const std::vector<int64_t> valid = parallel::ValidDegrees(slices);
    return base::BadInput("{}: this model cannot be cut over {} ranks, but over {}", checkpoint.path(),
                          shard.degree, fmt::join(valid, ", "));
  }
  return shard;
}

base::Range QueryHeads(const HeadCounts& counts, Shard shard) { return Even(counts.heads, shard); }

base::Range KvHeads(const HeadCounts& counts, Shard shard) {
  const int64_t group = counts.heads / counts.kv_heads;
  const base::Range queries = QueryHeads(counts, shard);
  return {queries.begin / group, (queries.end - 1) / group + 1};
}

base::Range VocabularyRows(int64_t vocab_size, Shard shard) {
  const int64_t blocks = (vocab_size + kernels::kVocabBlock - 1) / kernels::kVocabBlock;
  const base::Range run = base::Share(blocks, 1, shard.rank, shard.degree);
  return {std::min(run.begin * kernels::kVocabBlock, vocab_size),
          std::min(run.end * kernels::kVocabBlock, vocab_size)};
}

Owned OwnedPart(const TensorRule& rule, const HeadCounts& counts, Shard shard) {
  const int64_t rows = rule.shape[0];
  int64_t columns = 1;
  for (size_t i = 1; i < rule.shape.size(); ++i) columns *= rule.shape[i];
  Owned whole{{0, rows}, {0, columns}};
  switch (rule.sharding) {
    case Sharding::kReplicated:
      return whole;
    case Sharding::kRows:
      return {Even(rows, shard), whole.columns};
    case Sharding::kColumns:
      return {whole.rows, UpTo(Even(std::max(columns, rule.all_columns), shard), columns)};
    case Sharding::kQueryHeads: {
      const base::Range heads = QueryHeads(counts, shard);
      const int64_t size = rule.head_rows ? rule.head_rows : rows / counts.heads;
      return {UpTo({heads.begin * size, heads.end * size}, rows), whole.columns};
    }
    case Sharding::kKvHeads: {
      const base::Range heads = KvHeads(counts, shard);
      const int64_t size = rule.head_rows ? rule.head_rows : rows / counts.kv_heads;
      return {UpTo({heads.begin * size, heads.end * size}, rows), whole.columns};
    }
    case Sharding::kVocabulary:
      return {VocabularyRows(rows, shard), whole.columns};
  }
  return whole;
}

uint64_t OwnedBytes(const checkpoint::TensorInfo& tensor, const Owned& owned) {
  const int64_t block = tensor::Info(tensor.type).block, rows = owned.rows.end - owned.rows.begin;
  if (rows == 0) return 0;
  const bool vector = tensor.shape.size() < 2;  // blocks run along its one dimension
  const base::Range run = vector ? owned.rows : owned.columns;
  const int64_t elements = (run.end + block - 1) / block * block - run.begin / block * block;
  return tensor::BytesFor(tensor.type, static_cast<size_t>(elements)) *
         static_cast<uint64_t>(vector ? 1 : rows);
}

}  // namespace fusiontree::models
