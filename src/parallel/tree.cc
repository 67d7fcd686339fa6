#include "parallel/tree.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace fusiontree::parallel {
namespace {

// Partial sums of one block of elements stay in the first-level cache: 2 KB a level of the tree.
constexpr int64_t kBlock = 512;

void Add(const float* __restrict a, const float* __restrict b, int64_t n, float* __restrict sum) {
  for (int64_t i = 0; i < n; ++i) sum[i] = a[i] + b[i];
}

void AddTo(const float* __restrict a, int64_t n, float* __restrict sum) {
  for (int64_t i = 0; i < n; ++i) sum[i] += a[i];
}

void AddFour(const float* const* parts, int64_t begin, int64_t n, float* __restrict sum) {
  const float* __restrict a = parts[0] + begin;
  const float* __restrict b = parts[1] + begin;
  const float* __restrict c = parts[2] + begin;
  const float* __restrict d = parts[3] + begin;
  for (int64_t i = 0; i < n; ++i) sum[i] = (a[i] + b[i]) + (c[i] + d[i]);
}

// sum [n] = the tree over `count` >= 2 parts from element `begin` on.
void SumBlock(const float* const* parts, int count, int64_t begin, int64_t n, float* sum) {
  if (count == 4) return AddFour(parts, begin, n, sum);
  if (count == 2 || count % 2 != 0) {
    Add(parts[0] + begin, parts[1] + begin, n, sum);
    for (int part = 2; part < count; ++part) AddTo(parts[part] + begin, n, sum);
    return;
  }
  alignas(64) float right[kBlock];
  SumBlock(parts, count / 2, begin, n, sum);
  SumBlock(parts + count / 2, count / 2, begin, n, right);
  AddTo(right, n, sum);
}

}  // namespace

void SumTree(const float* const* parts, int ranks, int64_t begin, int64_t end, float* out) {
  FT_CHECK(ranks >= 1);
  if (end <= begin) return;
  if (ranks == 1) {
    std::memcpy(out + begin, parts[0] + begin, static_cast<size_t>(end - begin) * sizeof(float));
    return;
  }
  for (int64_t at = begin; at < end; at += kBlock)
    SumBlock(parts, ranks, at, std::min(kBlock, end - at), out + at);
}

std::vector<int64_t> ValidDegrees(int64_t slices) {
  std::vector<int64_t> degrees = {1};
  int64_t left = slices;
  while (left % 2 == 0 && left > 0) {
    left /= 2;
    degrees.push_back(degrees.back() * 2);
  }
  if (left > 1) degrees.push_back(slices);
  return degrees;
}

bool ValidDegree(int64_t slices, int degree) {
  const std::vector<int64_t> degrees = ValidDegrees(slices);
  return std::find(degrees.begin(), degrees.end(), degree) != degrees.end();
}

}  // namespace fusiontree::parallel
