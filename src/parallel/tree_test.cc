#include "parallel/tree.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

namespace fusiontree::parallel {
namespace {

// The whole tree of one element, written as R2 says it.
float Tree(const std::vector<float>& x) {
  const size_t n = x.size();
  if (n == 1) return x[0];
  if (n % 2 == 0)
    return Tree({x.begin(), x.begin() + static_cast<long>(n / 2)}) +
           Tree({x.begin() + static_cast<long>(n / 2), x.end()});
  float sum = x[0];
  for (size_t i = 1; i < n; ++i) sum += x[i];
  return sum;
}

// [slices][n] of both signs, from 2^-40 to 2^40, so that the order of additions shows.
std::vector<std::vector<float>> Slices(int64_t slices, int64_t n) {
  uint64_t state = 1234 + static_cast<uint64_t>(slices);
  const auto draw = [&state] { return (state = state * 6364136223846793005u + 1442695040888963407u) >> 33; };
  std::vector<std::vector<float>> all(static_cast<size_t>(slices),
                                      std::vector<float>(static_cast<size_t>(n)));
  for (auto& slice : all)
    for (float& value : slice) {
      const float fraction = static_cast<float>(draw() & 0xffffff) / 8388608.0f - 1.0f;
      value = std::ldexp(fraction, static_cast<int>(draw() % 81) - 40);
    }
  return all;
}

TEST(Tree, EveryDegreeGivesTheBitsOfTheWholeTree) {
  constexpr int64_t kN = 1337;  // no multiple of a block
  for (int64_t slices = 1; slices <= 8; ++slices) {
    const auto x = Slices(slices, kN);
    std::vector<float> whole(kN), left_to_right(kN);
    for (size_t i = 0; i < kN; ++i) {
      std::vector<float> column;
      for (const auto& slice : x) column.push_back(slice[i]);
      whole[i] = Tree(column);
      for (const float value : column) left_to_right[i] += value;
    }
    if (slices % 2 == 0 && slices > 2) {  // or the data could not tell one order from another
      EXPECT_NE(std::memcmp(whole.data(), left_to_right.data(), sizeof(float) * kN), 0) << slices;
    }
    for (const int64_t degree : ValidDegrees(slices)) {
      const int64_t own = slices / degree;
      std::vector<std::vector<float>> sums(static_cast<size_t>(degree), std::vector<float>(kN));
      std::vector<const float*> parts;
      for (int64_t rank = 0; rank < degree; ++rank) {
        std::vector<const float*> slices_of_rank;
        for (int64_t s = 0; s < own; ++s)
          slices_of_rank.push_back(x[static_cast<size_t>(rank * own + s)].data());
        float* sum = sums[static_cast<size_t>(rank)].data();
        SumTree(slices_of_rank.data(), static_cast<int>(own), 0, kN, sum);
        parts.push_back(sum);
      }
      std::vector<float> out(kN);
      for (const int64_t cut : {int64_t{0}, int64_t{1}, int64_t{700}, kN}) {  // ranges are free
        std::fill(out.begin(), out.end(), 0.0f);
        SumTree(parts.data(), static_cast<int>(degree), cut, kN, out.data());
        SumTree(parts.data(), static_cast<int>(degree), 0, cut, out.data());
        EXPECT_EQ(std::memcmp(out.data(), whole.data(), sizeof(float) * kN), 0)
            << slices << " slices on " << degree << " ranks";
      }
    }
  }
}

TEST(Tree, WritesNothingOutsideItsRange) {
  const auto x = Slices(3, 100);
  const float* parts[] = {x[0].data(), x[1].data(), x[2].data()};
  std::vector<float> out(100, 7.0f);
  SumTree(parts, 3, 10, 20, out.data());
  SumTree(parts, 3, 50, 50, out.data());
  SumTree(parts, 1, 60, 61, out.data());
  for (size_t i = 0; i < out.size(); ++i) {
    const float expected = i >= 10 && i < 20 ? (x[0][i] + x[1][i]) + x[2][i] : i == 60 ? x[0][i] : 7.0f;
    EXPECT_EQ(out[i], expected) << i;
  }
}

TEST(Tree, DegreesAreWholeSubtrees) {
  using List = std::vector<int64_t>;
  EXPECT_EQ(ValidDegrees(1), (List{1}));
  EXPECT_EQ(ValidDegrees(2), (List{1, 2}));
  EXPECT_EQ(ValidDegrees(3), (List{1, 3}));
  EXPECT_EQ(ValidDegrees(4), (List{1, 2, 4}));
  EXPECT_EQ(ValidDegrees(5), (List{1, 5}));
  EXPECT_EQ(ValidDegrees(6), (List{1, 2, 6}));
  EXPECT_EQ(ValidDegrees(7), (List{1, 7}));
  EXPECT_EQ(ValidDegrees(8), (List{1, 2, 4, 8}));
  EXPECT_TRUE(ValidDegree(6, 6));
  EXPECT_FALSE(ValidDegree(6, 3));
  EXPECT_FALSE(ValidDegree(8, 3));
  EXPECT_FALSE(ValidDegree(8, 16));
  EXPECT_FALSE(ValidDegree(8, 0));
  EXPECT_FALSE(ValidDegree(8, -2));
}

}  // namespace
}  // namespace fusiontree::parallel
