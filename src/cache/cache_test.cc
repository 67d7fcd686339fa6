#include <gtest/gtest.h>

#include <cstring>
#include <memory>

#include "base/philox.h"
#include "cache/batch.h"

namespace fusiontree::cache {
namespace {

CacheLayout TwoGroups() {
  CacheLayout layout;
  layout.groups = {{{0, 2}, 0}, {{1}, 100}};
  layout.kv_heads = 2;
  layout.block_bytes = 512;
  return layout;
}

void Clear(void* block, int64_t slot, int64_t) {
  std::memset(static_cast<char*>(block) + slot * 8, 0, (64 - slot) * 8);
}

TEST(BlockPool, PagesAreZeroAlsoWhenReused) {
  BlockPool pool(TwoGroups(), 1 << 20);
  std::byte* page = pool.Allocate(0);
  ASSERT_NE(page, nullptr);
  std::memset(page, 7, pool.layout().PageBytes(0));
  pool.Free(0, page);
  std::byte* again = pool.Allocate(0);
  EXPECT_EQ(again, page);
  for (size_t i = 0; i < pool.layout().PageBytes(0); ++i) ASSERT_EQ(static_cast<int>(again[i]), 0);
  EXPECT_EQ(pool.CheckBooks(), "");
  pool.Free(0, again);
  pool.Free(0, nullptr);
  EXPECT_EQ(pool.bytes_live(), 0u);
}

TEST(SequenceState, ExtendIsAllOrNothing) {
  BlockPool pool(TwoGroups(), 3 * 2048 + 3 * 1024);
  SequenceState sequence(&pool, Clear, 4);
  ASSERT_TRUE(sequence.Extend(100).ok());
  const size_t live = pool.bytes_live();
  const base::Status status = sequence.Extend(1000);
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find("cache is full"), std::string::npos);
  EXPECT_EQ(sequence.length(), 100);
  EXPECT_EQ(pool.bytes_live(), live);
  EXPECT_EQ(pool.CheckBooks(), "");
}

TEST(SequenceState, AWindowGivesItsPagesBack) {
  BlockPool pool(TwoGroups(), 1 << 20);
  SequenceState sequence(&pool, Clear, 4);
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(sequence.Extend(1).ok());
  int kept = 0;
  for (size_t b = 0; b < sequence.pages(1).size(); ++b) kept += sequence.pages(1)[b] != nullptr;
  EXPECT_LE(kept, 3);  // 100 positions touch at most three pages of 64
  EXPECT_EQ(pool.bytes_live(),
            16 * pool.layout().PageBytes(0) + static_cast<size_t>(kept) * pool.layout().PageBytes(1));
  EXPECT_LE(pool.bytes_live(), pool.layout().SequenceBytes(1000));
}

TEST(SequenceState, TruncateClearsWhatItForgets) {
  CacheLayout layout = TwoGroups();
  layout.groups.pop_back();
  BlockPool pool(layout, 1 << 20);
  SequenceState sequence(&pool, Clear, 4);
  ASSERT_TRUE(sequence.Extend(130).ok());
  std::memset(sequence.pages(0)[1], 9, layout.PageBytes(0));
  EXPECT_EQ(sequence.Truncate(70), 70);
  EXPECT_EQ(sequence.pages(0).size(), 2u);
  for (size_t block = 0; block < layout.PageBytes(0) / layout.block_bytes; ++block)
    for (size_t i = 0; i < layout.block_bytes; ++i)
      ASSERT_EQ(static_cast<int>(sequence.pages(0)[1][block * layout.block_bytes + i]), i < 6 * 8 ? 9 : 0);
  EXPECT_EQ(pool.CheckBooks(), "");
}

TEST(SequenceState, TruncateBehindALostWindowStartsOver) {
  BlockPool pool(TwoGroups(), 1 << 20);
  SequenceState sequence(&pool, Clear, 4);
  ASSERT_TRUE(sequence.Extend(600).ok());
  ASSERT_TRUE(sequence.Extend(1).ok());
  EXPECT_EQ(sequence.Truncate(590), 590);
  EXPECT_EQ(sequence.Truncate(300), 0);
  EXPECT_EQ(sequence.length(), 0);
  EXPECT_EQ(pool.bytes_live(), 0u);
}

TEST(SequenceState, BooksHoldAfterEveryRandomStep) {
  BlockPool pool(TwoGroups(), 16 * 2048);
  std::vector<std::unique_ptr<SequenceState>> sequences;
  int full = 0, truncated = 0;
  for (uint64_t step = 0; step < 3000; ++step) {
    const auto draw = base::Philox(11, step, 0);
    if (sequences.size() < 5 && draw[0] % 4 == 0) {
      sequences.push_back(std::make_unique<SequenceState>(&pool, Clear, 4));
    } else if (!sequences.empty()) {
      auto& chosen = sequences[draw[1] % sequences.size()];
      if (draw[2] % 8 == 0) {
        std::swap(chosen, sequences.back());
        sequences.pop_back();
      } else if (draw[2] % 8 == 1) {
        const int64_t p = draw[3] % (chosen->length() + 1);
        const int64_t got = chosen->Truncate(p);
        EXPECT_TRUE(got == p || got == 0);
        ++truncated;
      } else {
        full += !chosen->Extend(1 + draw[3] % 90).ok();
      }
    }
    ASSERT_EQ(pool.CheckBooks(), "") << "step " << step;
  }
  EXPECT_GT(full, 10);
  EXPECT_GT(truncated, 10);
  sequences.clear();
  EXPECT_EQ(pool.bytes_live(), 0u);
}

TEST(Batch, SpansFollowEachOther) {
  BlockPool pool(TwoGroups(), 1 << 20);
  SequenceState a(&pool, Clear, 4), b(&pool, Clear, 4);
  const int32_t ids[] = {1, 2, 3};
  Batch batch;
  ASSERT_TRUE(batch.Add(&a, ids, 3).ok());
  ASSERT_TRUE(batch.Add(&b, ids, 2).ok());
  EXPECT_EQ(batch.rows(), 5);
  EXPECT_EQ(batch.spans[1].first_row, 3);
  EXPECT_EQ(batch.spans[1].first_position, 0);
  EXPECT_EQ(a.length(), 3);
}

}  // namespace
}  // namespace fusiontree::cache
