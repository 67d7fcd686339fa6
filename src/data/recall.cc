#include "data/recall.h"

#include <algorithm>
#include <utility>

#include "base/math.h"
#include "base/philox.h"
#include "data/permutation.h"

namespace fusiontree::data {
namespace {

// Number `draw` of a row: 64 bits.
uint64_t Bits(uint64_t seed, Purpose purpose, int64_t row, uint64_t draw) {
  const auto bits = base::Philox(KeyFor(seed, purpose), draw, static_cast<uint64_t>(row));
  return uint64_t{bits[0]} << 32 | bits[1];
}

// Uniform in [0, n): the product's high half, whose bias of n / 2^64 nobody can see.
uint64_t Below(uint64_t n, uint64_t bits) {
  return static_cast<uint64_t>(static_cast<unsigned __int128>(bits) * n >> 64);
}

Row EmptyRow(int64_t row, int32_t length) {
  Row result;
  result.ids.assign(length, 0);
  result.targets.assign(length, kNoTarget);
  result.pieces = {Piece{.document = row, .length = length}};
  return result;
}

base::Status CheckVocabulary(int32_t vocab_size) {
  if (vocab_size >= 4 && vocab_size <= 1 << 24) return base::OkStatus();
  return base::BadInput("the vocabulary of a task is {}, but must be from 4 to {}", vocab_size, 1 << 24);
}

}  // namespace

base::Result<RecallTask> RecallTask::Make(const RecallOptions& options, uint64_t seed) {
  FT_RETURN_IF_ERROR(CheckVocabulary(options.vocab_size));
  if (options.pairs < 1 || options.pairs > options.vocab_size / 2 - 1)
    return base::BadInput("a vocabulary of {} has keys for 1 to {} pairs, not {}", options.vocab_size,
                          options.vocab_size / 2 - 1, options.pairs);
  if (options.length % 2 != 0 || options.length > 1 << 24 || options.length / 4 < options.pairs)
    return base::BadInput("the length must be even and at least 4 times the {} pairs, not {}", options.pairs,
                          options.length);
  if (!(options.power > 0 && options.power <= 10))
    return base::BadInput("the power of the gaps must be above 0 and at most 10, not {}", options.power);
  RecallTask task(options, seed);
  const int32_t space = options.length / 2 - options.pairs;
  for (int32_t i = 1; i <= space; ++i) task.weights_.push_back(base::Pow(i, options.power - 1));
  return task;
}

Row RecallTask::Generate(int64_t row) const {
  Row result = EmptyRow(row, options_.length);
  if (options_.noise)
    for (int32_t i = 0; i < options_.length; ++i)
      result.ids[i] = static_cast<int32_t>(Below(static_cast<uint64_t>(options_.vocab_size),
                                                 Bits(seed_, kRecallNoise, row, static_cast<uint64_t>(i))));
  // The first of a random order of all keys, and of all values.
  const int32_t half = options_.vocab_size / 2;
  const Permutation keys(static_cast<uint64_t>(half - 1), KeyFor(seed_, kRecallPairs, 0),
                         static_cast<uint64_t>(row));
  const Permutation values(static_cast<uint64_t>(options_.vocab_size - half), KeyFor(seed_, kRecallPairs, 1),
                           static_cast<uint64_t>(row));
  // Drawing places one after the other by weight, without putting back, is a race of exponential clocks: they
  // go in the order in which -log(u) / weight runs out.
  std::vector<std::pair<double, int32_t>> clocks;
  for (size_t i = 0; i < weights_.size(); ++i) {
    const uint64_t bits = Bits(seed_, kRecallGaps, row, i);
    const double u =
        base::UnitDouble(static_cast<uint32_t>(bits >> 32), static_cast<uint32_t>(bits)) + 0x1p-54;
    clocks.emplace_back(-base::Log(u) / weights_[i], static_cast<int32_t>(i));
  }
  std::partial_sort(clocks.begin(), clocks.begin() + options_.pairs, clocks.end());
  for (int32_t pair = 0; pair < options_.pairs; ++pair) {
    const int32_t key = 1 + static_cast<int32_t>(keys(static_cast<uint64_t>(pair)));
    const int32_t value = half + static_cast<int32_t>(values(static_cast<uint64_t>(pair)));
    result.ids[2 * pair] = key;
    result.ids[2 * pair + 1] = value;
    const int32_t query = 2 * (options_.pairs + clocks[pair].second);
    result.ids[query] = key;
    result.targets[query] = value;
  }
  return result;
}

base::Result<NeedleTask> NeedleTask::Make(const NeedleOptions& options, uint64_t seed) {
  FT_RETURN_IF_ERROR(CheckVocabulary(options.vocab_size));
  if (options.length < 3)
    return base::BadInput("a needle takes a length of at least 3, not {}", options.length);
  if (!(options.depth <= 1))
    return base::BadInput("the depth of a needle must be at most 1, not {}", options.depth);
  return NeedleTask(options, seed);
}

Row NeedleTask::Generate(int64_t row) const {
  Row result = EmptyRow(row, options_.length);
  const int32_t half = options_.vocab_size / 2, hay = options_.vocab_size - half;
  const auto draw = [&](int32_t n, uint64_t number) {
    return static_cast<int32_t>(Below(static_cast<uint64_t>(n), Bits(seed_, kNeedle, row, number)));
  };
  for (int32_t i = 0; i < options_.length; ++i)
    result.ids[i] = half + draw(hay, static_cast<uint64_t>(i) + 2);
  const int32_t key = 1 + draw(half - 1, 0);
  const int32_t places = options_.length - 2;  // for the key: its value lies before the question
  const int32_t at = options_.depth < 0
                         ? draw(places, 1)
                         : static_cast<int32_t>(options_.depth * static_cast<double>(places - 1) + 0.5);
  result.ids[at] = key;
  result.ids.back() = key;
  result.targets.back() = result.ids[at + 1];
  return result;
}

}  // namespace fusiontree::data
