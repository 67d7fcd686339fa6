#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "base/philox.h"
#include "cache/batch.h"

namespace fusiontree::cache {
namespace {

CacheLayout TwoGroups() {
  CacheLayout layout;
  layout.groups = {{{0, 2}, 0, 2}, {{1}, 100, 2}};
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

// A window, everything, and states that do not grow.
CacheLayout Hybrid() {
  CacheLayout layout = TwoGroups();
  layout.states = {{"scan", 0, 4, 40}, {"conv", 0, 3, 40}, {"scan", 2, 4, 40}};
  return layout;
}

// What a model would do with `count` more positions: every slot of every page and every state depends on the
// position.
bool Advance(SequenceState* sequence, int64_t count) {
  const int64_t first = sequence->length();
  if (!sequence->Extend(count).ok()) return false;
  const CacheLayout& layout = sequence->pool().layout();
  for (int64_t p = first; p < first + count; ++p) {
    for (size_t g = 0; g < layout.groups.size(); ++g) {
      std::byte* page = sequence->pages(g)[static_cast<size_t>(p / kPagePositions)];
      for (size_t at = 0; at < layout.PageBytes(g); at += layout.block_bytes)
        std::memset(page + at + p % kPagePositions * 8, static_cast<int>(1 + p % 250), 8);
    }
    for (size_t i = 0; i < layout.states.size(); ++i) {
      float* state = sequence->state(i);
      for (int64_t e = 0; e < layout.states[i].columns; ++e)
        state[e] = state[e] * 0.5f + static_cast<float>(p + 1);
    }
  }
  return true;
}

// The bytes that positions from length() on can still see.
std::string Visible(const SequenceState& sequence) {
  const CacheLayout& layout = sequence.pool().layout();
  std::string out;
  for (size_t g = 0; g < layout.groups.size(); ++g) {
    const int64_t window = layout.groups[g].window, p = sequence.length();
    const int64_t first = window > 0 && p >= window ? (p - window + 1) / kPagePositions : 0;
    for (size_t b = static_cast<size_t>(first); b < sequence.pages(g).size(); ++b) {
      if (sequence.pages(g)[b] == nullptr) return "lost";
      out.append(reinterpret_cast<const char*>(sequence.pages(g)[b]), layout.PageBytes(g));
    }
  }
  if (sequence.length() > 0)
    out.append(reinterpret_cast<const char*>(sequence.state(0)), layout.PageBytes(layout.groups.size()));
  return out;
}

TEST(States, StartAtZeroAndLieWholePanelsApart) {
  BlockPool pool(Hybrid(), 1 << 20);
  const CacheLayout& layout = pool.layout();
  EXPECT_EQ(CacheLayout::StateStride(layout.states[0]), 64u);
  EXPECT_EQ(layout.StateOffset(2), 7u * 64);
  EXPECT_EQ(layout.PageBytes(2), 11u * 64 * 4);
  for (int turn = 0; turn < 2; ++turn) {
    SequenceState sequence(&pool, Clear, 4);
    ASSERT_TRUE(sequence.Extend(1).ok());
    for (size_t i = 0; i < 11 * 64; ++i) ASSERT_EQ(sequence.state(0)[i], 0.0f);
    sequence.state(0)[5] = 1.0f;
  }
  EXPECT_EQ(pool.bytes_live(), 0u);
}

TEST(States, TruncateComesBackToTheMarkOrStartsOver) {
  for (const int64_t marked : {1, 63, 64, 65, 150, 200}) {
    BlockPool pool(Hybrid(), 1 << 20);
    SequenceState sequence(&pool, Clear, 4);
    ASSERT_TRUE(Advance(&sequence, marked));
    const std::string then = Visible(sequence);
    sequence.Mark();
    ASSERT_TRUE(Advance(&sequence, 400));
    for (int i = 0; i < 70; ++i) ASSERT_TRUE(Advance(&sequence, 1));
    EXPECT_EQ(sequence.Truncate(sequence.length()), marked + 470);
    EXPECT_EQ(sequence.Truncate(marked + 3), marked);
    EXPECT_EQ(sequence.length(), marked);
    EXPECT_EQ(Visible(sequence), then);
    ASSERT_TRUE(Advance(&sequence, 5));
    EXPECT_EQ(sequence.Truncate(marked), marked);
    EXPECT_EQ(Visible(sequence), then);
    ASSERT_TRUE(Advance(&sequence, 5));
    EXPECT_EQ(sequence.Truncate(marked - 1), 0);
    EXPECT_EQ(pool.bytes_live(), 0u);
  }
}

TEST(States, MarksKeepMemoryBounded) {
  CacheLayout layout = Hybrid();
  layout.groups.erase(layout.groups.begin());  // nothing global
  BlockPool pool(layout, 1 << 20);
  SequenceState sequence(&pool, Clear, 4);
  size_t most = 0;
  for (int i = 0; i < 3000; ++i) {
    ASSERT_TRUE(Advance(&sequence, 1));
    if (i % 700 == 100) sequence.Mark();
    most = std::max(most, pool.bytes_live());
  }
  EXPECT_LE(most, layout.SequenceBytes(3000));
  EXPECT_LE(layout.SequenceBytes(3000), layout.SequenceBytes(1000));
}

TEST(States, CopiesAndSavedBytesGoOnAlike) {
  BlockPool pool(Hybrid(), 1 << 22), elsewhere(Hybrid(), 1 << 22);
  SequenceState one(&pool, Clear, 4);
  ASSERT_TRUE(Advance(&one, 333));
  SequenceState two(&pool, Clear, 4), three(&elsewhere, Clear, 4);
  ASSERT_TRUE(two.CopyFrom(one).ok());
  const std::string saved = one.Save();
  ASSERT_TRUE(three.Restore(saved).ok());
  EXPECT_EQ(three.length(), 333);
  for (SequenceState* sequence : {&one, &two, &three}) ASSERT_TRUE(Advance(sequence, 50));
  EXPECT_EQ(Visible(two), Visible(one));
  EXPECT_EQ(Visible(three), Visible(one));

  BlockPool small(Hybrid(), 4096), other(TwoGroups(), 1 << 20);
  SequenceState no_room(&small, Clear, 4), another(&other, Clear, 4);
  EXPECT_NE(no_room.Restore(saved).message().find("is full"), std::string::npos);
  EXPECT_NE(another.Restore(saved).message().find("of another model"), std::string::npos);
  EXPECT_EQ(small.bytes_live() + other.bytes_live(), 0u);
  for (const size_t size :
       {size_t{0}, size_t{10}, size_t{24}, size_t{25}, saved.size() / 2, saved.size() - 1}) {
    SequenceState cut(&elsewhere, Clear, 4);
    EXPECT_FALSE(cut.Restore(std::string_view(saved).substr(0, size)).ok()) << size;
    EXPECT_EQ(cut.length(), 0);
  }
  SequenceState longer(&elsewhere, Clear, 4);
  EXPECT_NE(longer.Restore(saved + "x").message().find("followed by"), std::string::npos);
  EXPECT_EQ(pool.CheckBooks() + elsewhere.CheckBooks(), "");
}

TEST(States, BooksAndBytesHoldAfterEveryRandomStep) {
  BlockPool pool(Hybrid(), 24 * 2048);
  std::vector<std::unique_ptr<SequenceState>> sequences;
  int full = 0, back = 0, copies = 0;
  for (uint64_t step = 0; step < 3000; ++step) {
    const auto draw = base::Philox(12, step, 0);
    const auto fresh = [&] { return std::make_unique<SequenceState>(&pool, Clear, 4); };
    if (sequences.size() < 5 && draw[0] % 4 == 0) {
      sequences.push_back(fresh());
    } else if (!sequences.empty()) {
      auto& chosen = sequences[draw[1] % sequences.size()];
      switch (draw[2] % 8) {
        case 0:
          std::swap(chosen, sequences.back());
          sequences.pop_back();
          break;
        case 1: {
          const int64_t p = draw[3] % (chosen->length() + 1), marked = chosen->marked();
          const int64_t length = chosen->length(), got = chosen->Truncate(p);
          EXPECT_EQ(got, p == length ? p : marked >= 0 && marked <= p ? marked : 0);
          back += got > 0;
          break;
        }
        case 2:
          chosen->Mark();
          break;
        case 3: {
          auto copy = fresh();
          copies += copy->CopyFrom(*chosen).ok();
          std::swap(chosen, copy);
          break;
        }
        default:
          full += !Advance(chosen.get(), 1 + draw[3] % 90);
      }
    }
    ASSERT_EQ(pool.CheckBooks(), "") << "step " << step;
  }
  EXPECT_GT(full, 10);
  EXPECT_GT(back, 10);
  EXPECT_GT(copies, 10);
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
