#include "data/ngram.h"

#include <algorithm>

#include "base/math.h"

namespace fusiontree::data {
namespace {

// The last `bytes` of a gram.
uint64_t Last(uint64_t gram, int bytes) { return gram & ((uint64_t{1} << 8 * bytes) - 1); }

constexpr double kLog2E = 1.4426950408889634;

}  // namespace

void ByteNgram::Add(std::string_view document) {
  uint64_t gram = 0;
  for (const char c : document) {
    gram = Last(gram << 8 | static_cast<uint8_t>(c), kOrder);
    ++orders_[kOrder - 1].grams.At(gram);
  }
}

void ByteNgram::Finish() {
  for (int n = kOrder; n >= 1; --n) {
    Order& order = orders_[n - 1];
    if (n < kOrder)
      orders_[n].grams.ForEach([&](uint64_t gram, uint64_t) { ++order.grams.At(Last(gram, n)); });
    uint64_t once = 0, twice = 0;
    order.grams.ForEach([&](uint64_t gram, uint64_t count) {
      Context& context = order.contexts.At(gram >> 8);
      context.total += count;
      context.distinct += 1;
      once += count == 1;
      twice += count == 2;
    });
    const double all = static_cast<double>(once) + 2 * static_cast<double>(twice);
    // On very little text a discount of 0 would leave unseen bytes without a probability.
    order.discount = all == 0 ? 0.5 : std::clamp(static_cast<double>(once) / all, 0.05, 0.95);
  }
}

double ByteNgram::Probability(uint32_t context, uint8_t byte) const {
  double probability = 1.0 / 256;
  for (int n = 1; n <= kOrder; ++n) {
    const Order& order = orders_[n - 1];
    const uint64_t before = Last(context, n - 1);
    const Context* const found = order.contexts.Find(before);
    if (found == nullptr) break;  // then no longer one occurs either
    const uint64_t* const count = order.grams.Find(before << 8 | byte);
    const double kept = count == nullptr ? 0 : std::max(static_cast<double>(*count) - order.discount, 0.0);
    probability = (kept + order.discount * static_cast<double>(found->distinct) * probability) /
                  static_cast<double>(found->total);
  }
  return probability;
}

double ByteNgram::Bits(std::string_view document) const {
  uint32_t context = 0;
  double bits = 0;
  for (const char c : document) {
    bits -= base::Log(Probability(context, static_cast<uint8_t>(c))) * kLog2E;
    context = context << 8 | static_cast<uint8_t>(c);
  }
  return bits;
}

}  // namespace fusiontree::data
