#include "train/gates.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "ops/regularise.h"

namespace fusiontree::train {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // of bytes that are no character

TokenClass ClassOf(const tokenizer::Tokenizer& tokenizer, int32_t id) {
  if (!tokenizer.Has(id) || tokenizer.IsSpecial(id)) return TokenClass::kSpecial;
  const std::string_view spelled = tokenizer.TokenText(id);
  const base::Result<std::string> decoded = tokenizer.Decode(std::span<const int32_t>(&id, 1), false);
  std::string_view text = decoded.ok() ? std::string_view(*decoded) : kReplacement;
  if (text.find(kReplacement) != std::string_view::npos) return TokenClass::kBytes;
  // Byte-level and SentencePiece vocabularies mark the space before a word.
  bool led = spelled.starts_with("\xc4\xa0") || spelled.starts_with("\xe2\x96\x81");
  while (!text.empty() && std::string_view(" \t\r\n").find(text.front()) != std::string_view::npos) {
    led = true;
    text.remove_prefix(1);
  }
  if (text.empty()) return TokenClass::kSpace;
  const unsigned char first = static_cast<unsigned char>(text.front());
  if (first >= '0' && first <= '9') return TokenClass::kNumber;
  if (first < 0x80 && !((first | 0x20) >= 'a' && (first | 0x20) <= 'z')) return TokenClass::kPunctuation;
  return led ? TokenClass::kWord : TokenClass::kPart;
}

}  // namespace

std::string_view NameOf(TokenClass of) {
  static constexpr std::string_view kNames[kTokenClasses] = {"word",  "part",    "number", "punctuation",
                                                             "space", "special", "bytes"};
  return kNames[static_cast<size_t>(of)];
}

std::vector<TokenClass> ClassesOf(const tokenizer::Tokenizer& tokenizer) {
  std::vector<TokenClass> classes;
  for (size_t id = 0; id < tokenizer.vocab_size(); ++id)
    classes.push_back(ClassOf(tokenizer, static_cast<int32_t>(id)));
  return classes;
}

void GateStatistics::Add(const GateStatistics& other) {
  count += other.count;
  sum += other.sum;
  squares += other.squares;
  for (size_t i = 0; i < bins.size(); ++i) bins[i] += other.bins[i];
  const auto add = [](auto& to, const auto& from) {
    for (size_t i = 0; i < to.size(); ++i) {
      to[i].count += from[i].count;
      to[i].sum += from[i].sum;
    }
  };
  add(positions, other.positions);
  add(classes, other.classes);
  channels.resize(std::max(channels.size(), other.channels.size()));
  for (size_t i = 0; i < other.channels.size(); ++i) channels[i] += other.channels[i];
}

double GateStatistics::deviation() const {
  if (count <= 0.0) return 0.0;
  return __builtin_sqrt(std::max(0.0, squares / count - mean() * mean()));
}

double GateStatistics::ChannelMean(size_t channel) const {
  return count > 0.0 ? channels[channel] * static_cast<double>(channels.size()) / count : 0.0;
}

std::vector<double> GateStatistics::Flat() const {
  std::vector<double> flat = {static_cast<double>(layer), count, sum, squares};
  flat.insert(flat.end(), bins.begin(), bins.end());
  for (const Share& share : positions) flat.insert(flat.end(), {share.count, share.sum});
  for (const Share& share : classes) flat.insert(flat.end(), {share.count, share.sum});
  FT_CHECK(flat.size() == kFlat);
  flat.insert(flat.end(), channels.begin(), channels.end());
  return flat;
}

GateStatistics GateStatistics::FromFlat(const double* flat, size_t channels) {
  GateStatistics g;
  g.layer = static_cast<int64_t>(*flat++);
  g.count = *flat++;
  g.sum = *flat++;
  g.squares = *flat++;
  for (double& bin : g.bins) bin = *flat++;
  for (Share& share : g.positions) share = {flat[0], flat[1]}, flat += 2;
  for (Share& share : g.classes) share = {flat[0], flat[1]}, flat += 2;
  g.channels.assign(flat, flat + channels);
  return g;
}

void AddTo(std::vector<GateStatistics>* all, const GateStatistics& more) {
  const auto found =
      std::find_if(all->begin(), all->end(), [&](const GateStatistics& g) { return g.layer == more.layer; });
  if (found == all->end()) {
    all->push_back(more);
  } else {
    found->Add(more);
  }
}

void GateMeter::Observe(int layer, std::string_view op, const float* value, int64_t rows, int64_t columns,
                        int64_t stride) {
  if (op != "gate") return;
  FT_CHECK(batch_ != nullptr && batch_->rows() == rows);
  GateStatistics of_layer;
  of_layer.layer = layer;
  of_layer.channels.assign(static_cast<size_t>(columns), 0.0);
  const std::vector<ops::Kept> kept = ops::KeptBranches(context_, layer);
  for (const cache::Span& span : batch_->spans) {
    for (int64_t r = span.first_row; r < span.first_row + span.count; ++r) {
      if (!kept.empty() && kept[static_cast<size_t>(r)] != ops::Kept::kBoth) continue;
      double sum = 0.0;
      for (int64_t i = 0; i < columns; ++i) {
        const double g = static_cast<double>(value[r * stride + i]);
        sum += g;
        of_layer.squares += g * g;
        of_layer.channels[static_cast<size_t>(i)] += g;
        // A gate that is not a number counts as 0; the run names it when the forward is done.
        const double at = g * GateStatistics::kBins;
        const size_t bin = at > 0.0 ? static_cast<size_t>(std::min(at, GateStatistics::kBins - 1.0)) : 0;
        of_layer.bins[bin] += 1.0;
      }
      const double count = static_cast<double>(columns);
      of_layer.count += count;
      of_layer.sum += sum;
      const auto add = [&](GateStatistics::Share& share) {
        share.count += count;
        share.sum += sum;
      };
      const uint64_t position = static_cast<uint64_t>(span.text_position() + r - span.first_row);
      add(of_layer.positions[std::min<size_t>(static_cast<size_t>(std::bit_width(position + 1)) - 1,
                                              GateStatistics::kPositions - 1)]);
      const size_t id = static_cast<size_t>(batch_->ids[static_cast<size_t>(r)]);
      if (id < classes_.size()) add(of_layer.classes[static_cast<size_t>(classes_[id])]);
    }
  }
  AddTo(&layers_, of_layer);
}

}  // namespace fusiontree::train
