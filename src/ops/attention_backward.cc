// The backward of attention; the contract is in attention.h.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/check.h"
#include "ops/attention.h"

namespace fusiontree::ops {
namespace {

constexpr int64_t kCheapRows = 4;

// The keys [key_begin, key_end) of one span and KV head, in one split, and the queries that see some of them:
// positions [begin, end).
struct Unit {
  const KvSpan* span;
  int64_t kv_head;
  int64_t key_begin, key_end;
  int64_t begin, end;
  float* dq;  // of position `begin`, head 0
  int64_t dq_stride;
};

// What a split after a span's first adds to dq: rows [row, row + count) of the batch.
struct Part {
  int64_t row, count;
  const float* dq;  // [count, heads * d]
};

// The keys and gradients of one block, in a thread's own scratch.
struct Block {
  float k[kernels::kKeyBlock * kernels::kMaxHeadDim], v[kernels::kKeyBlock * kernels::kMaxHeadDim];
  float dk[kernels::kKeyBlock * kernels::kMaxHeadDim], dv[kernels::kKeyBlock * kernels::kMaxHeadDim];
};
static_assert(sizeof(Block) <= kOpScratchBytes);

struct Work {
  const AttentionShape& shape;
  kernels::AttentionBackwardArgs args;  // what all calls share; q, dout, max, ... of row 0, head 0
  float *dk, *dv;
  int64_t kv_stride;
  const kernels::Table& table;

  void Run(const Unit& unit, Block& block, void* scratch) const {
    const KvSpan& span = *unit.span;
    const base::Range heads = shape.HeadsOf(unit.kv_head);
    const int64_t d = shape.head_dim, row = span.first_row + unit.begin - span.first_position;
    kernels::AttentionBackwardArgs a = args;
    a.k = block.k;
    a.v = block.v;
    a.dk = block.dk;
    a.dv = block.dv;
    a.kv_stride = a.dkv_stride = d;
    a.q += row * a.q_stride + heads.begin * d;
    a.dout += row * a.dout_stride + heads.begin * d;
    const int64_t statistic = row * a.statistics_stride + heads.begin;
    a.max += statistic;
    a.inverse_sum += statistic;
    a.dot += statistic;
    a.queries = unit.end - unit.begin;
    a.heads = heads.end - heads.begin;
    a.first_position = unit.begin;
    a.dq = unit.dq + heads.begin * d;
    a.dq_stride = unit.dq_stride;
    a.scratch = scratch;
    for (int64_t i = 0; i < a.queries; ++i)
      std::memset(a.dq + i * a.dq_stride, 0, static_cast<size_t>(a.heads * d) * sizeof(float));
    const std::vector<void*>& blocks = span.blocks[static_cast<size_t>(unit.kv_head)];
    for (a.first_key = unit.key_begin; a.first_key < unit.key_end; a.first_key += kernels::kKeyBlock) {
      a.keys = std::min(kernels::kKeyBlock, unit.key_end - a.first_key);
      const void* from = blocks[static_cast<size_t>(a.first_key / kernels::kKeyBlock - span.first_block)];
      for (int64_t j = 0; j < a.keys; ++j)
        table.attention[shape.kind].read(from, j, d, block.k + j * d, block.v + j * d);
      const size_t bytes = static_cast<size_t>(a.keys * d) * sizeof(float);
      std::memset(block.dk, 0, bytes);
      std::memset(block.dv, 0, bytes);
      table.backward->attention(&a);
      for (int64_t j = std::max<int64_t>(0, span.first_position - a.first_key); j < a.keys; ++j) {
        const int64_t to =
            (span.first_row + a.first_key + j - span.first_position) * kv_stride + unit.kv_head * d;
        std::memcpy(dk + to, block.dk + j * d, static_cast<size_t>(d) * sizeof(float));
        std::memcpy(dv + to, block.dv + j * d, static_cast<size_t>(d) * sizeof(float));
      }
    }
  }
};

}  // namespace

void AttentionBackward(Context& context, const AttentionShape& shape, const std::vector<KvSpan>& spans,
                       const float* q, int64_t q_stride, const AttentionStatistics& statistics,
                       const float* out, int64_t out_stride, const float* dout, int64_t dout_stride,
                       float* dq, int64_t dq_stride, float* dk, float* dv, int64_t kv_stride) {
  FT_CHECK(shape.head_dim <= kernels::kMaxHeadDim && statistics.max != nullptr);
  const tensor::Arena::Scope scope(context.scratch());
  const kernels::Table& table = context.kernels();
  const bool round = shape.kind == kernels::kAttentionBf16;
  const int64_t width = shape.heads * shape.head_dim;
  int64_t rows = 0;
  for (const KvSpan& span : spans) rows = std::max(rows, span.first_row + span.count);

  float* dots = context.scratch().TakeArray<float>(rows * shape.heads);
  context.For(rows, 1, kCheapRows, [&](int, base::Range share) {
    for (int64_t r = share.begin; r < share.end; ++r)
      table.backward->attention_dots(out + r * out_stride, dout + r * dout_stride, shape.heads,
                                     shape.head_dim, round, dots + r * shape.heads);
  });

  // By splits, KV heads within a split.
  std::vector<Unit> units;
  std::vector<Part> parts;
  for (const KvSpan& span : spans) {
    const int64_t begin = span.first_position, end = begin + span.count;
    int64_t key = shape.window > 0 ? std::max<int64_t>(0, begin - shape.window + 1) : 0;
    key = key / kernels::kKeyBlock * kernels::kKeyBlock;
    for (bool first = true; key < end; first = false) {
      const int64_t split_end = (key / kernels::kSplitKeys + 1) * kernels::kSplitKeys;
      Unit unit = {&span,    0, key, std::min(split_end, end), begin, end, dq + span.first_row * dq_stride,
                   dq_stride};
      if (!first) {
        unit.begin = std::max(begin, key);
        if (shape.window > 0) unit.end = std::min(end, split_end - 1 + shape.window);
        unit.dq = context.scratch().TakeArray<float>((unit.end - unit.begin) * width);
        unit.dq_stride = width;
        parts.push_back({span.first_row + unit.begin - begin, unit.end - unit.begin, unit.dq});
      }
      for (; unit.kv_head < shape.kv_heads; ++unit.kv_head) units.push_back(unit);
      key = split_end;
    }
  }

  kernels::AttentionBackwardArgs args = {};
  args.q = q;
  args.dout = dout;
  args.q_stride = q_stride;
  args.dout_stride = dout_stride;
  args.max = statistics.max;
  args.inverse_sum = statistics.inverse_sum;
  args.dot = dots;
  args.statistics_stride = shape.heads;
  args.d = shape.head_dim;
  args.window = shape.window;
  args.scale = shape.scale();
  args.round = round;
  const Work work = {shape, args, dk, dv, kv_stride, table};
  std::atomic<size_t> next{
      0};  // units differ in cost, so threads take the next one; who takes it changes no bit
  context.pool().Run([&](int thread) {
    Block& block = *static_cast<Block*>(context.OpScratch(thread));
    for (size_t i = next.fetch_add(1); i < units.size(); i = next.fetch_add(1))
      work.Run(units[i], block, context.KernelScratch(thread));
  });
  for (const Part& part : parts) {
    context.For(part.count, 1, kCheapRows, [&](int, base::Range share) {
      for (int64_t r = share.begin; r < share.end; ++r) {
        float* to = dq + (part.row + r) * dq_stride;
        for (int64_t i = 0; i < width; ++i) to[i] = to[i] + part.dq[r * width + i];
      }
    });
  }
}

}  // namespace fusiontree::ops
