#include "data/ngram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <string>

#include "base/philox.h"

namespace fusiontree::data {
namespace {

// A text with some order in it: each letter depends on the one before.
std::string Text(uint64_t seed, int size) {
  std::string text;
  int state = 0;
  for (int i = 0; i < size; ++i) {
    const uint32_t draw = base::Philox(seed, i, 0)[0];
    state = draw % 10 < 7 ? (state * 3 + 1) % 11 : static_cast<int>(draw / 10 % 11);
    text += static_cast<char>('a' + state);
    if (draw % 97 == 0) text += static_cast<char>(200 + draw % 50);
  }
  return text;
}

// The slow twin, as the papers write it: by maps of strings.
class PlainNgram {
 public:
  explicit PlainNgram(const std::vector<std::string>& documents) {
    std::map<std::string, double> all;
    for (const std::string& document : documents) {
      const std::string padded = std::string(4, '\0') + document;
      for (size_t i = 4; i < padded.size(); ++i) ++all[padded.substr(i - 4, 5)];
    }
    counts_[5] = all;
    for (int n = 4; n >= 1; --n) {
      std::map<std::string, std::set<char>> before;
      for (const auto& [gram, count] : counts_[n + 1]) before[gram.substr(1)].insert(gram[0]);
      for (const auto& [gram, bytes] : before) counts_[n][gram] = static_cast<double>(bytes.size());
    }
    for (int n = 1; n <= 5; ++n) {
      double n1 = 0, n2 = 0;
      for (const auto& [gram, count] : counts_[n]) {
        n1 += count == 1;
        n2 += count == 2;
      }
      discount_[n] = n1 + n2 == 0 ? 0.5 : std::min(std::max(n1 / (n1 + 2 * n2), 0.05), 0.95);
    }
  }
  double Probability(const std::string& context, char byte) const { return Of(context, byte); }

 private:
  // P(byte | context) of order context.size() + 1.
  double Of(const std::string& context, char byte) const {
    const int n = static_cast<int>(context.size()) + 1;
    const double lower = n == 1 ? 1.0 / 256 : Of(context.substr(1), byte);
    double total = 0, distinct = 0, own = 0;
    for (int b = 0; b < 256; ++b) {
      const auto found = counts_.at(n).find(context + static_cast<char>(b));
      if (found == counts_.at(n).end()) continue;
      total += found->second;
      distinct += 1;
      if (static_cast<char>(b) == byte) own = found->second;
    }
    if (total == 0) return lower;
    return std::max(own - discount_.at(n), 0.0) / total + discount_.at(n) * distinct / total * lower;
  }
  std::map<int, std::map<std::string, double>> counts_;
  std::map<int, double> discount_;
};

uint32_t Packed(const std::string& context) {
  uint32_t packed = 0;
  for (const char c : context) packed = packed << 8 | static_cast<uint8_t>(c);
  return packed;
}

TEST(ByteNgram, IsThePlainOne) {
  const std::vector<std::string> documents = {Text(1, 900), Text(2, 400), "", "x"};
  ByteNgram fast;
  for (const std::string& document : documents) fast.Add(document);
  fast.Finish();
  const PlainNgram plain(documents);
  int seen[6] = {};
  for (int trial = 0; trial < 1500; ++trial) {
    // Contexts of the text, of another text, and of random bytes.
    std::string from = trial % 3 == 0 ? documents[0] : Text(5, 900);
    from = std::string(4, '\0') + from;
    std::string context = from.substr(base::Philox(3, trial, 0)[0] % 800, 4);
    if (trial % 7 == 0) context[trial % 4] = static_cast<char>(trial);
    const char byte = trial % 2 == 0 ? static_cast<char>('a' + trial % 11) : static_cast<char>(trial);
    const double expected = plain.Probability(context, byte);
    EXPECT_NEAR(fast.Probability(Packed(context), static_cast<uint8_t>(byte)), expected,
                1e-12 * expected + 1e-18);
    ++seen[std::min(5, static_cast<int>(-std::log2(expected)) / 3)];
  }
  for (int i = 0; i < 4; ++i) EXPECT_GT(seen[i], 10) << i;  // likely and unlikely ones
}

TEST(ByteNgram, ProbabilitiesSumToOne) {
  ByteNgram model;
  model.Add(Text(1, 20000));
  model.Finish();
  const std::string text = Text(2, 20000);
  for (int trial = 0; trial < 300; ++trial) {
    uint32_t context = Packed(text.substr(trial * 50, 4));
    if (trial % 3 == 0) context = base::Philox(1, trial, 0)[0];
    if (trial % 3 == 1) context ^= uint32_t{1} << (24 + trial % 8);
    double sum = 0;
    for (int byte = 0; byte < 256; ++byte) {
      const double p = model.Probability(context, static_cast<uint8_t>(byte));
      EXPECT_GT(p, 0);
      sum += p;
    }
    EXPECT_NEAR(sum, 1, 1e-12);
  }
}

TEST(ByteNgram, LearnsWhatThereIsToLearn) {
  ByteNgram model;
  for (int d = 0; d < 20; ++d) model.Add(Text(d, 5000));
  model.Finish();
  for (int n = 1; n <= ByteNgram::kOrder; ++n) EXPECT_GE(model.discount(n), 0.05);
  const std::string held_out = Text(99, 5000);
  const double bits = model.Bits(held_out) / static_cast<double>(held_out.size());
  // The source: 7 of 10 letters follow from the one before, the rest is one of eleven, and rarely an odd
  // byte.
  const double p = 0.7 + 0.3 / 11, q = 0.3 / 11;
  const double entropy = -(p * std::log2(p) + 10 * q * std::log2(q));
  EXPECT_GT(bits, entropy);
  EXPECT_LT(bits, entropy + 0.3);
  EXPECT_EQ(model.Bits(""), 0);
}

TEST(ByteNgram, WithoutTextEveryByteIsAsLikely) {
  ByteNgram model;
  model.Finish();
  EXPECT_EQ(model.Probability(7, 8), 1.0 / 256);
  EXPECT_NEAR(model.Bits("abc"), 24, 1e-12);
}

}  // namespace
}  // namespace fusiontree::data
