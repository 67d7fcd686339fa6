// What the gates of a model do: statistics of each layer, in all, by channel, by the token's position in its
// text and by its class.
#ifndef FUSIONTREE_TRAIN_GATES_H_
#define FUSIONTREE_TRAIN_GATES_H_

#include <array>
#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "cache/batch.h"
#include "ops/context.h"
#include "tokenizer/tokenizer.h"

namespace fusiontree::train {

// Of a vocabulary entry, by its text: a word begins with the space before it, a part continues one.
enum class TokenClass : uint8_t { kWord, kPart, kNumber, kPunctuation, kSpace, kSpecial, kBytes };
constexpr int kTokenClasses = 7;
std::string_view NameOf(TokenClass of);
std::vector<TokenClass> ClassesOf(const tokenizer::Tokenizer& tokenizer);  // [its vocabulary]

// Of one layer over the tokens that ran with both branches.
struct GateStatistics {
  static constexpr int kBins = 16;       // equal, over 0 to 1
  static constexpr int kPositions = 25;  // run i: positions 2^i - 1 to 2^(i + 1) - 2
  struct Share {
    double count = 0.0, sum = 0.0;  // gates
    double mean() const { return count > 0.0 ? sum / count : 0.0; }
  };
  int64_t layer = 0;
  double count = 0.0, sum = 0.0, squares = 0.0;
  std::array<double, kBins> bins = {};
  std::array<Share, kPositions> positions = {};
  std::array<Share, kTokenClasses> classes = {};
  std::vector<double> channels;  // sums [H], or [1] of a gate a token

  void Add(const GateStatistics& other);
  double mean() const { return count > 0.0 ? sum / count : 0.0; }
  double deviation() const;
  // The mean of one channel.
  double ChannelMean(size_t channel) const;

  // As numbers, and back: of the same length for all layers of a model.
  std::vector<double> Flat() const;
  static GateStatistics FromFlat(const double* flat, size_t channels);
  static constexpr size_t kFlat = 4 + kBins + 2 * (kPositions + kTokenClasses);  // without channels
};
// Adds to that of the same layer, or appends.
void AddTo(std::vector<GateStatistics>* all, const GateStatistics& more);

// Adds up the gates of forwards, layer by layer.
class GateMeter : public ops::Probe {
 public:
  // `classes` [vocabulary] outlives it; empty: nothing by class.
  GateMeter(const ops::Context& context, const std::vector<TokenClass>& classes)
      : context_(context), classes_(classes) {}
  // Of the forward that follows; the batch outlives it.
  void Start(const cache::Batch* batch) { batch_ = batch; }
  void Observe(int layer, std::string_view op, const float* value, int64_t rows, int64_t columns,
               int64_t stride) override;
  const std::vector<GateStatistics>& layers() const { return layers_; }

 private:
  const ops::Context& context_;
  const std::vector<TokenClass>& classes_;
  const cache::Batch* batch_ = nullptr;
  std::vector<GateStatistics> layers_;
};

}  // namespace fusiontree::train

#endif  // FUSIONTREE_TRAIN_GATES_H_
