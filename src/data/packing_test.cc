// The order of documents and their rows: every token once, any row by itself, the same whatever was asked
// before.
#include "data/packing.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/hash.h"
#include "base/philox.h"
#include "data/permutation.h"

namespace fusiontree::data {
namespace {

uint32_t Draw(uint64_t seed, uint64_t i) { return base::Philox(seed, i, 77)[0]; }

// Token t of document d is d * 1000 + t, so that every token is told apart; a third are masked.
MemoryTokenSet RandomSet(uint64_t seed, int documents, int longest) {
  MemoryTokenSet set;
  for (int d = 0; d < documents; ++d) {
    std::vector<int32_t> ids(1 + Draw(seed, d) % longest);
    std::vector<uint8_t> targets(ids.size());
    for (size_t t = 0; t < ids.size(); ++t) {
      ids[t] = static_cast<int32_t>(d * 1000 + t);
      targets[t] = Draw(seed + 1, ids[t]) % 3 != 0;
    }
    set.Add(ids, targets);
  }
  return set;
}

DocumentStream Stream(std::vector<MixturePart> parts, uint64_t seed, bool repeat = true,
                      bool shuffle = true) {
  auto stream = DocumentStream::Make(std::move(parts), {.seed = seed, .shuffle = shuffle, .repeat = repeat});
  EXPECT_TRUE(stream.ok()) << stream.status().message();
  return std::move(stream).value();
}

std::string Text(const Row& row) {
  std::string text;
  for (const int32_t id : row.ids) text += std::to_string(id) + " ";
  for (const int32_t target : row.targets) text += std::to_string(target) + " ";
  for (const Piece& p : row.pieces)
    text += fmt::format("({} {} {} {} {} {} {} {})", p.set, p.document, p.epoch, p.offset, p.begin, p.length,
                        p.first_position, p.continues);
  return text;
}

TEST(Permutation, EveryPlaceOnceAndEveryPlaceAsLikely) {
  for (const uint64_t n : {1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 1000}) {
    std::set<uint64_t> places;
    const Permutation order(n, 5, n);
    for (uint64_t i = 0; i < n; ++i) places.insert(order(i));
    EXPECT_EQ(places.size(), n);
    EXPECT_EQ(*places.rbegin(), n - 1);
  }
  // Element i at place j in one of n permutations: each of the 100 cells about 400 times of 4,000.
  std::map<std::pair<int, int>, int> cells;
  std::map<std::string, int> orders;
  for (uint64_t stream = 0; stream < 4000; ++stream)
    for (int i = 0; i < 10; ++i) ++cells[{i, Permutation(10, 3, stream)(i)}];
  ASSERT_EQ(cells.size(), 100u);
  for (const auto& [cell, count] : cells) EXPECT_NEAR(count, 400, 6 * 19) << cell.first << " " << cell.second;
  // All six orders of three.
  for (uint64_t stream = 0; stream < 6000; ++stream) {
    const Permutation order(3, 4, stream);
    ++orders[std::to_string(order(0)) + std::to_string(order(1)) + std::to_string(order(2))];
  }
  ASSERT_EQ(orders.size(), 6u);
  for (const auto& [order, count] : orders) EXPECT_NEAR(count, 1000, 6 * 29) << order;
}

// The counts that issue after issue of packing code got wrong.
TEST(Packing, EveryTokenIsAnInputOnceAndATargetOnce) {
  for (uint64_t seed = 0; seed < 12; ++seed) {
    const MemoryTokenSet set =
        RandomSet(seed, 1 + static_cast<int>(seed) * 9, 1 + static_cast<int>(seed) * 7);
    const DocumentStream stream = Stream({{&set}}, seed, false);
    ASSERT_EQ(stream.end(), set.tokens());
    for (const int64_t length : {1, 2, 7, 64, 100000}) {
      std::map<int32_t, int> inputs, targets;
      for (int64_t at = 0; at < stream.end(); at += length) {
        const auto row = stream.Pack(at, length);
        ASSERT_TRUE(row.ok());
        ASSERT_EQ(row->ids.size(), static_cast<size_t>(std::min(length, stream.end() - at)));
        for (const int32_t id : row->ids) ++inputs[id];
        for (const int32_t id : row->targets) ++targets[id];
        // Pieces are the row, end to end; a target is the token behind its own.
        int32_t next = 0;
        for (const Piece& piece : row->pieces) {
          EXPECT_EQ(piece.begin, next);
          next += piece.length;
          EXPECT_EQ(piece.first_position, 0);
          EXPECT_FALSE(piece.continues);
          for (int32_t i = 0; i < piece.length; ++i) {
            const int32_t id = row->ids[piece.begin + i], target = row->targets[piece.begin + i];
            EXPECT_EQ(id, piece.document * 1000 + piece.offset + i);
            if (target != kNoTarget) {
              EXPECT_EQ(target, id + 1);
            }
          }
        }
        EXPECT_EQ(next, static_cast<int32_t>(row->ids.size()));
      }
      EXPECT_EQ(inputs.size(), static_cast<size_t>(set.tokens()));
      targets.erase(kNoTarget);
      int64_t expected_targets = 0;
      for (int64_t d = 0; d < set.documents(); ++d) {
        std::vector<int32_t> ids(set.Length(d));
        std::vector<uint8_t> mask(set.Length(d));
        ASSERT_TRUE(set.Read(d, 0, set.Length(d), ids.data(), mask.data()).ok());
        for (size_t t = 0; t < ids.size(); ++t) {
          EXPECT_EQ(inputs[ids[t]], 1);
          const int wanted = t > 0 && mask[t] != 0;
          expected_targets += wanted;
          EXPECT_EQ(targets.count(ids[t]) ? targets[ids[t]] : 0, wanted)
              << seed << " " << length << " " << ids[t];
        }
      }
      EXPECT_EQ(targets.size(), static_cast<size_t>(expected_targets));
    }
  }
}

TEST(Packing, EpochsAreDifferentOrdersOfTheSame) {
  const MemoryTokenSet set = RandomSet(3, 50, 20);
  const DocumentStream stream = Stream({{&set}}, 9);
  std::vector<std::vector<int64_t>> orders(3);
  const auto row = stream.Pack(0, 3 * set.tokens());
  ASSERT_TRUE(row.ok());
  for (const Piece& piece : row->pieces) orders.at(piece.epoch).push_back(piece.document);
  EXPECT_NE(orders[0], orders[1]);
  EXPECT_NE(orders[1], orders[2]);
  for (auto& order : orders) {
    EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
    std::sort(order.begin(), order.end());
    for (int64_t d = 0; d < 50; ++d) EXPECT_EQ(order.at(d), d);
  }
  EXPECT_NE(Text(*Stream({{&set}}, 10).Pack(0, 100)), Text(*Stream({{&set}}, 9).Pack(0, 100)));
}

TEST(Packing, AnyRowIsTheSameWithoutThoseBefore) {
  const MemoryTokenSet a = RandomSet(1, 300, 40), b = RandomSet(2, 20, 200);
  for (const bool mixed : {false, true}) {
    std::vector<MixturePart> parts = {{&a, 0.7}};
    if (mixed) parts.push_back({&b, 0.3});
    const DocumentStream running = Stream(parts, 4);
    std::vector<std::string> rows;
    for (int i = 0; i < 600; ++i) rows.push_back(Text(*running.Pack(i * 64, 64)));
    for (const int i : {599, 0, 17, 300}) EXPECT_EQ(Text(*Stream(parts, 4).Pack(i * 64, 64)), rows[i]) << i;
    const DocumentStream backwards = Stream(parts, 4);
    for (int i = 599; i >= 0; --i) ASSERT_EQ(Text(*backwards.Pack(i * 64, 64)), rows[i]) << i;
  }
}

TEST(Packing, MixturesKeepTheirWeightsAndLoseNothing) {
  const MemoryTokenSet a = RandomSet(1, 200, 10), b = RandomSet(2, 50, 400), c = RandomSet(3, 500, 50);
  const DocumentStream stream = Stream({{&a, 5}, {&b, 3}, {&c, 2}}, 1);
  const int64_t all = 400000;
  std::map<int, int64_t> tokens;
  std::map<std::pair<int, int64_t>, int64_t> passes;  // of a document: tokens seen
  const auto row = stream.Pack(0, all);
  ASSERT_TRUE(row.ok());
  for (const Piece& piece : row->pieces) {
    tokens[piece.set] += piece.length;
    passes[{piece.set, piece.document}] += 1;
  }
  EXPECT_NEAR(tokens[0] / static_cast<double>(all), 0.5, 0.02);
  EXPECT_NEAR(tokens[1] / static_cast<double>(all), 0.3, 0.02);
  EXPECT_NEAR(tokens[2] / static_cast<double>(all), 0.2, 0.02);
  // Each set's documents as often as each other, within the epoch it is in.
  std::map<int, std::pair<int64_t, int64_t>> range;
  for (const auto& [key, count] : passes) {
    auto& [low, high] = range.try_emplace(key.first, count, count).first->second;
    low = std::min(low, count);
    high = std::max(high, count);
  }
  EXPECT_EQ(passes.size(), 750u);
  for (const auto& [set, low_high] : range) EXPECT_LE(low_high.second - low_high.first, 1) << set;
}

// The order is part of a run's bits: it may not change from one version to the next.
TEST(Packing, TheOrderIsTheOneItAlwaysWas) {
  const MemoryTokenSet a = RandomSet(1, 300, 40), b = RandomSet(2, 20, 200);
  EXPECT_EQ(base::Hash(Text(*Stream({{&a}}, 11).Pack(5000, 3000))), 11161532800326037575u);
  EXPECT_EQ(base::Hash(Text(*Stream({{&a, 0.7}, {&b, 0.3}}, 12).Pack(5000, 3000))), 12492333504823870947u);
}

TEST(Packing, WithoutShuffleDocumentsKeepTheirOrder) {
  const MemoryTokenSet set = RandomSet(5, 30, 9);
  const auto row = Stream({{&set}}, 0, false, false).Pack(0, 1 << 20);
  ASSERT_TRUE(row.ok());
  for (int64_t d = 0; d < 30; ++d) EXPECT_EQ(row->pieces.at(d).document, d);
}

TEST(StageRows, LanesAreTheSameTokensAndPassTheirStateAlong) {
  const MemoryTokenSet set = RandomSet(6, 40, 90);
  const DocumentStream stream = Stream({{&set}}, 2);
  for (const bool lanes : {false, true}) {
    const StageRows stage{.first = 37, .length = 16, .rows = 5, .steps = 12, .lanes = lanes};
    std::vector<int> seen(stage.Tokens());
    int continued = 0;
    for (int64_t row = 0; row < stage.rows; ++row) {
      Piece last;  // of the row before on the lane
      int64_t last_position = 0;
      for (int64_t step = 0; step < stage.steps; ++step) {
        const int64_t at = stage.Position(step, row);
        for (int64_t i = 0; i < stage.length; ++i) ++seen.at(at - stage.first + i);
        const auto packed = stream.Pack(at, stage.length, stage.ChainStart(step, row));
        ASSERT_TRUE(packed.ok());
        const Piece& first = packed->pieces.front();
        EXPECT_EQ(first.continues, lanes && step > 0 && first.offset > 0);
        for (size_t i = 1; i < packed->pieces.size(); ++i) EXPECT_FALSE(packed->pieces[i].continues);
        if (first.continues) {
          ++continued;
          EXPECT_EQ(first.document, last.document);
          EXPECT_EQ(first.offset, last.offset + last.length);
          EXPECT_EQ(first.first_position, last_position);
        } else {
          EXPECT_EQ(first.first_position, 0);
        }
        last = packed->pieces.back();
        last_position = last.first_position + last.length;
      }
    }
    for (const int count : seen) EXPECT_EQ(count, 1);
    EXPECT_EQ(continued > 10, lanes);
  }
}

TEST(DocumentStream, BadMixturesAreNamed) {
  const MemoryTokenSet set = RandomSet(1, 3, 3), empty;
  const auto message = [](std::vector<MixturePart> parts, bool repeat = true) {
    return DocumentStream::Make(std::move(parts), {.repeat = repeat}).status().message();
  };
  EXPECT_EQ(message({}), "there is no data to read from");
  EXPECT_EQ(message({{&set}, {&empty}}), "data set 1 of the mixture has no documents");
  EXPECT_EQ(message({{&set, 0}}), "the weight of data set 0 is 0, but must be above 0");
  EXPECT_EQ(message({{&set, -1}}), "the weight of data set 0 is -1, but must be above 0");
  EXPECT_EQ(message({{&set}, {&set}}, false), "a single pass takes one data set, not 2");
}

}  // namespace
}  // namespace fusiontree::data
