#include "ops/attention.h"

#include <algorithm>
#include <atomic>

#include "base/check.h"
#include "base/math.h"
#include "ops/linear.h"

namespace fusiontree::ops {
namespace {

constexpr int64_t kCheapRows = 4;
// Below this many tiles a thread, histories are cut over threads at the fixed split points; the bits are the
// same.
constexpr int64_t kTilesPerThread = 4;

// Rows (queries x heads of one KV head's group) of one span: a unit of work.
struct Tile {
  const KvSpan* span;
  int64_t kv_head;
  int64_t first_head, heads;     // its query heads
  int64_t first_query, queries;  // within the span
  int64_t key_begin, key_end;    // keys any row sees; key_begin is a split point
  int64_t splits() const { return (key_end - key_begin + kernels::kSplitKeys - 1) / kernels::kSplitKeys; }
};

struct State {  // of one tile or one split of it
  float* max;
  float* sum;
  float* acc;
};
size_t StateFloats(int64_t acc_stride) {
  return static_cast<size_t>(kernels::kAttentionRows * (acc_stride + 2));
}
State StateAt(float* memory) {
  return {memory, memory + kernels::kAttentionRows, memory + 2 * kernels::kAttentionRows};
}

struct Work {
  const AttentionShape& shape;
  const float* q;
  int64_t q_stride;
  int64_t acc_stride;
  const kernels::Table& table;
  AttentionStatistics statistics;

  void Split(const Tile& tile, int64_t split, const State& state, void* scratch) const {
    kernels::AttentionArgs args;
    args.key_begin = tile.key_begin + split * kernels::kSplitKeys;
    args.blocks = tile.span->blocks[static_cast<size_t>(tile.kv_head)].data() +
                  (args.key_begin / kernels::kKeyBlock - tile.span->first_block);
    args.key_end = std::min(tile.key_end, args.key_begin + kernels::kSplitKeys);
    args.q = q + (tile.span->first_row + tile.first_query) * q_stride + tile.first_head * shape.head_dim;
    args.q_stride = q_stride;
    args.queries = tile.queries;
    args.heads = tile.heads;
    args.d = shape.head_dim;
    args.first_position = tile.span->first_position + tile.first_query;
    args.window = shape.window;
    args.scale = shape.scale();
    args.max = state.max;
    args.sum = state.sum;
    args.acc = state.acc;
    args.acc_stride = acc_stride;
    args.scratch = scratch;
    table.attention[shape.kind].split(&args);
  }
  void Merge(const Tile& tile, const State& state, const State& part) const {
    table.attention_merge(tile.queries * tile.heads, shape.head_dim, acc_stride, state.max, state.sum,
                          state.acc, part.max, part.sum, part.acc);
  }
  void Finish(const Tile& tile, const State& state, float* out, int64_t out_stride) const {
    table.attention_finish(
        tile.queries, tile.heads, shape.head_dim, acc_stride, state.sum, state.acc,
        out + (tile.span->first_row + tile.first_query) * out_stride + tile.first_head * shape.head_dim,
        out_stride);
    if (statistics.max == nullptr) return;
    for (int64_t r = 0; r < tile.queries * tile.heads; ++r) {
      const int64_t row = tile.span->first_row + tile.first_query + r / tile.heads;
      const int64_t at = row * shape.heads + tile.first_head + r % tile.heads;
      statistics.max[at] = state.max[r];
      statistics.inverse_sum[at] = 1.0f / state.sum[r];
    }
  }
};

std::vector<Tile> MakeTiles(const AttentionShape& shape, const std::vector<KvSpan>& spans) {
  std::vector<Tile> tiles;
  const int64_t most = std::max<int64_t>(1, kernels::kAttentionRows / shape.group);
  for (const KvSpan& span : spans) {
    for (int64_t query = 0; query < span.count; query += most) {
      const int64_t queries = std::min(most, span.count - query), position = span.first_position + query;
      int64_t first_key = shape.window > 0 ? std::max<int64_t>(0, position - shape.window + 1) : 0;
      first_key = first_key / kernels::kSplitKeys * kernels::kSplitKeys;
      for (int64_t kv = 0; kv < shape.kv_heads; ++kv) {
        const base::Range heads = shape.HeadsOf(kv);
        tiles.push_back(
            {&span, kv, heads.begin, heads.end - heads.begin, query, queries, first_key, position + queries});
      }
    }
  }
  return tiles;
}

}  // namespace

RopeAngles MakeRopeAngles(Context& context, const int64_t* positions, int64_t m,
                          const float* inverse_frequency, int64_t half) {
  float* cos = context.TakeConstant(m * half);
  float* sin = context.TakeConstant(m * half);
  context.For(m, 1, 16, [&](int, base::Range share) {
    for (int64_t r = share.begin; r < share.end; ++r) {
      for (int64_t i = 0; i < half; ++i) {
        const float angle = static_cast<float>(positions[r]) * inverse_frequency[i];
        cos[r * half + i] = static_cast<float>(base::Cos(static_cast<double>(angle)));
        sin[r * half + i] = static_cast<float>(base::Sin(static_cast<double>(angle)));
      }
    }
  });
  return {cos, sin, half};
}

void Rope(Context& context, float* x, int64_t stride, int64_t m, int64_t heads, const RopeAngles& angles) {
  const auto rotate = [&context, stride, m, heads, angles](auto kernel, float* values) {
    context.For(m, 1, kCheapRows, [&](int, base::Range share) {
      for (int64_t r = share.begin; r < share.end; ++r)
        for (int64_t h = 0; h < heads; ++h)
          kernel(values + r * stride + h * 2 * angles.half, angles.cos + r * angles.half,
                 angles.sin + r * angles.half, angles.half);
    });
  };
  rotate(context.kernels().rope, x);
  if (Tape* tape = context.tape())
    tape->Record(
        x, [&context, tape, rotate, x] { rotate(context.kernels().backward->rope, tape->Gradient(x)); });
}

void WriteKv(Context& context, const AttentionShape& shape, const std::vector<KvSpan>& spans, const float* k,
             const float* v, int64_t stride) {
  const kernels::AttentionOps& ops = context.kernels().attention[shape.kind];
  int64_t rows = 0;
  for (const KvSpan& span : spans) rows += span.count;
  // Threads split rows x heads by head, so that no two write into one block.
  auto write = [&](int64_t begin, int64_t end) {
    for (const KvSpan& span : spans)
      for (int64_t head = begin; head < end; ++head)
        for (int64_t i = 0; i < span.count; ++i) {
          const int64_t position = span.first_position + i,
                        at = (span.first_row + i) * stride + head * shape.head_dim;
          void* block = span.blocks[static_cast<size_t>(head)]
                                   [static_cast<size_t>(position / kernels::kKeyBlock - span.first_block)];
          ops.write(block, position % kernels::kKeyBlock, shape.head_dim, k + at, v + at);
        }
  };
  if (rows < kCheapRows) {
    base::FloatMode mode;
    write(0, shape.kv_heads);
  } else {
    context.For(shape.kv_heads, 1, 1, [&](int, base::Range share) { write(share.begin, share.end); });
  }
}

void Attention(Context& context, const AttentionShape& shape, const std::vector<KvSpan>& spans,
               const float* q, int64_t q_stride, float* out, int64_t out_stride,
               const AttentionStatistics& statistics) {
  const int64_t acc_stride = PaddedColumns(shape.head_dim);
  FT_CHECK(shape.group <= kernels::kAttentionRows && shape.head_dim <= kernels::kMaxHeadDim);
  FT_CHECK(2 * StateFloats(acc_stride) * sizeof(float) <= kOpScratchBytes);
  const Work work{shape, q, q_stride, acc_stride, context.kernels(), statistics};
  const std::vector<Tile> tiles = MakeTiles(shape, spans);
  const int64_t count = static_cast<int64_t>(tiles.size());
  std::vector<int64_t> first_split(tiles.size() + 1, 0);
  for (size_t i = 0; i < tiles.size(); ++i) first_split[i + 1] = first_split[i] + tiles[i].splits();
  const int64_t all_splits = first_split.back();

  std::atomic<int64_t> next{
      0};  // tiles differ in cost, so threads take the next one; who takes it changes no bit
  if (count >= kTilesPerThread * context.pool().size() || all_splits == count || context.pool().size() == 1) {
    context.pool().Run([&](int thread) {
      float* memory = static_cast<float*>(context.OpScratch(thread));
      const State state = StateAt(memory), part = StateAt(memory + StateFloats(acc_stride));
      // Long tiles come last in a prefill: start with them.
      for (int64_t i = count - 1 - next.fetch_add(1); i >= 0; i = count - 1 - next.fetch_add(1)) {
        const Tile& tile = tiles[static_cast<size_t>(i)];
        work.Split(tile, 0, state, context.KernelScratch(thread));
        for (int64_t s = 1; s < tile.splits(); ++s) {
          work.Split(tile, s, part, context.KernelScratch(thread));
          work.Merge(tile, state, part);
        }
        work.Finish(tile, state, out, out_stride);
      }
    });
    return;
  }
  // Few tiles, long histories: one split a unit, then each tile's splits merged in order.
  float* memory =
      context.scratch().TakeArray<float>(all_splits * static_cast<int64_t>(StateFloats(acc_stride)));
  auto state_of = [&](int64_t split) {
    return StateAt(memory + static_cast<size_t>(split) * StateFloats(acc_stride));
  };
  context.pool().Run([&](int thread) {
    for (int64_t unit = next.fetch_add(1); unit < all_splits; unit = next.fetch_add(1)) {
      const size_t i = static_cast<size_t>(std::upper_bound(first_split.begin(), first_split.end(), unit) -
                                           first_split.begin() - 1);
      work.Split(tiles[i], unit - first_split[i], state_of(unit), context.KernelScratch(thread));
    }
  });
  context.For(count, 1, 1, [&](int, base::Range share) {
    for (int64_t i = share.begin; i < share.end; ++i) {
      const int64_t first = first_split[static_cast<size_t>(i)];
      const Tile& tile = tiles[static_cast<size_t>(i)];
      for (int64_t s = 1; s < tile.splits(); ++s) work.Merge(tile, state_of(first), state_of(first + s));
      work.Finish(tile, state_of(first), out, out_stride);
    }
  });
}

void SelfAttention(Context& context, const AttentionShape& shape, const std::vector<KvSpan>& spans,
                   const float* q, const float* k, const float* v, int64_t stride, float* out,
                   int64_t out_stride) {
  WriteKv(context, shape, spans, k, v, stride);
  AttentionStatistics statistics;
  if (Tape* tape = context.tape()) {
    int64_t rows = 0;
    for (const KvSpan& span : spans) rows = std::max(rows, span.first_row + span.count);
    statistics = {context.TakeConstant(rows * shape.heads), context.TakeConstant(rows * shape.heads)};
    tape->Record(out, [&context, tape, shape, spans, q, k, v, stride, statistics, out, out_stride] {
      AttentionBackward(context, shape, spans, q, stride, statistics, out, out_stride, tape->Gradient(out),
                        out_stride, tape->Gradient(q), stride, tape->Gradient(k), tape->Gradient(v), stride);
    });
  }
  Attention(context, shape, spans, q, stride, out, out_stride, statistics);
}

}  // namespace fusiontree::ops
