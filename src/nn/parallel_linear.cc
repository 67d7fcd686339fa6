#include "nn/parallel_linear.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "parallel/tree.h"

namespace fusiontree::nn {
namespace {

constexpr int64_t kCheapRows = 4;
constexpr int64_t kSumFloats = 2048;  // added at a time: stays in the first-level cache

// x = or += (sum of the parts by the tree) + bias, rows of `stride` floats, the first `width` of them.
void AddParts(ops::Context& context, const float* const* parts, const float* bias, int64_t m, int64_t width,
              kernels::Epilogue end, float* x, int64_t stride) {
  const int ranks = context.ranks();
  context.For(m, 1, kCheapRows, [&](int, base::Range share) {
    float sum[kSumFloats];
    const float* here[kernels::kMaxSlices];
    for (int64_t r = share.begin; r < share.end; ++r) {
      for (int64_t begin = 0; begin < width; begin += kSumFloats) {
        const int64_t count = std::min(kSumFloats, width - begin);
        for (int rank = 0; rank < ranks; ++rank) here[rank] = parts[rank] + r * width + begin;
        parallel::SumTree(here, ranks, 0, count, sum);
        float* out = x + r * stride + begin;
        if (bias) {
          for (int64_t i = 0; i < count; ++i) sum[i] += bias[begin + i];
        }
        if (end == kernels::kAdd) {
          for (int64_t i = 0; i < count; ++i) out[i] += sum[i];
        } else {
          std::copy_n(sum, count, out);
        }
      }
    }
  });
}

int64_t Longest(const VocabularyRuns& runs) {
  int64_t longest = 0;
  for (const base::Range& run : runs) longest = std::max(longest, ops::PaddedColumns(run.end - run.begin));
  return longest;
}

}  // namespace

void RowParallelLinear(ops::Context& context, const ops::Rows& rows, const ops::Matrix& matrix,
                       kernels::Epilogue end, float* x, int64_t stride) {
  if (context.ranks() == 1) return ops::Matmul(context, rows, matrix, end, x, stride);
  const int64_t width = matrix.panels * kernels::kPanel, floats = rows.m * width;
  FT_CHECK(width <= stride);
  ops::Matrix without_bias = matrix;
  without_bias.bias = nullptr;
  ops::Matmul(context, rows, without_bias, kernels::kStore, context.communicator().Window(floats), width);
  AddParts(context, context.communicator().Exchange(floats), matrix.bias, rows.m, width, end, x, stride);
}

void VocabParallelEmbedding(ops::Context& context, const ops::Matrix& matrix, const VocabularyRuns& runs,
                            const int32_t* ids, int64_t m, float* x, int64_t stride) {
  if (context.ranks() == 1) return ops::Embed(context, matrix, ids, m, x, stride);
  const base::Range own = runs[static_cast<size_t>(context.communicator().rank())];
  std::vector<int32_t> mine;
  std::vector<int64_t> place;
  for (int64_t t = 0; t < m; ++t) {
    if (ids[t] < own.begin || ids[t] >= own.end) continue;
    mine.push_back(static_cast<int32_t>(ids[t] - own.begin));
    place.push_back(t);
  }
  // Row t of the exchange comes from the rank that holds ids[t]; nobody reads the others' row t.
  const int64_t count = static_cast<int64_t>(mine.size());
  ops::Embed(context, matrix, mine.data(), count, x, stride);
  float* window = context.communicator().Window(m * stride);
  for (int64_t i = 0; i < count; ++i)
    std::memcpy(window + place[static_cast<size_t>(i)] * stride, x + i * stride,
                static_cast<size_t>(stride) * sizeof(float));
  const float* const* parts = context.communicator().Exchange(m * stride);
  for (int64_t t = 0; t < m; ++t) {
    size_t owner = 0;
    while (ids[t] >= runs[owner].end) ++owner;
    std::memcpy(x + t * stride, parts[owner] + t * stride, static_cast<size_t>(stride) * sizeof(float));
  }
}

void VocabParallelHead(ops::Context& context, const ops::Rows& rows, const ops::Matrix& matrix,
                       const VocabularyRuns& runs, float* logits, int64_t stride) {
  if (context.ranks() == 1) return ops::Matmul(context, rows, matrix, kernels::kStore, logits, stride);
  const int64_t width = Longest(runs);
  ops::Matmul(context, rows, matrix, kernels::kStore, context.communicator().Window(rows.m * width), width);
  const float* const* parts = context.communicator().Exchange(rows.m * width);
  if (context.communicator().rank() != 0) return;
  context.For(rows.m, 1, 1, [&](int, base::Range share) {
    for (int64_t r = share.begin; r < share.end; ++r) {
      for (size_t rank = 0; rank < runs.size(); ++rank) {
        const int64_t count = ops::PaddedColumns(runs[rank].end - runs[rank].begin);
        std::memcpy(logits + r * stride + runs[rank].begin, parts[rank] + r * width,
                    static_cast<size_t>(count) * sizeof(float));
      }
    }
  });
}

void ObserveWhole(ops::Context& context, int layer, const char* op, const float* value, int64_t m,
                  int64_t columns, int64_t stride) {
  if (context.probe() != nullptr) context.probe()->Observe(layer, op, value, m, columns, stride);
}

void ObservePart(ops::Context& context, int layer, const char* op, const float* value, int64_t m,
                 int64_t stride, const Part& part) {
  if (context.probe() == nullptr) return;
  if (context.ranks() == 1) return context.probe()->Observe(layer, op, value, m, part.total, stride);
  parallel::Communicator& communicator = context.communicator();
  std::vector<base::Range> columns(static_cast<size_t>(communicator.size()));
  communicator.AllGather(&part.columns, sizeof(part.columns), columns.data());
  if (!communicator.status().ok()) return;
  const int64_t own = part.columns.end - part.columns.begin;
  int64_t width = 1;
  for (const base::Range& c : columns) width = std::max(width, c.end - c.begin);
  float* window = communicator.Window(m * width);
  for (int64_t r = 0; r < m; ++r) std::copy_n(value + r * stride, own, window + r * width);
  const float* const* parts = communicator.Exchange(m * width);
  if (communicator.rank() != 0 || !communicator.status().ok()) return;
  std::vector<float> whole(static_cast<size_t>(m * part.total));
  for (size_t rank = 0; rank < columns.size(); ++rank)
    for (int64_t r = 0; r < m; ++r)
      std::copy_n(parts[rank] + r * width, columns[rank].end - columns[rank].begin,
                  whole.begin() + r * part.total + columns[rank].begin);
  context.probe()->Observe(layer, op, whole.data(), m, part.total, part.total);
}

}  // namespace fusiontree::nn
