#include "data/packing.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "base/philox.h"
#include "data/permutation.h"

namespace fusiontree::data {
namespace {
constexpr int64_t kStride = 64;  // documents between two marks
}  // namespace

struct DocumentStream::State {
  std::vector<MixturePart> parts;
  StreamOptions options;
  std::vector<double> bounds;  // of the draw of a set: the running sum of their probabilities
  std::vector<uint64_t> keys;  // of each set's permutations
  uint64_t mixture_key = 0;
  int64_t documents = 0, tokens = 0;  // of all sets

  // The document `ordinal` of the stream: it begins at `position`, and counts[s] of those before are of set
  // s.
  struct Cursor {
    int64_t ordinal = 0, position = 0;
    std::vector<int64_t> counts;
    int32_t set = 0;
    int64_t document = 0, epoch = 0, length = 0;
  };

  std::mutex mutex;
  Cursor frontier;                     // a multiple of kStride, behind all marks
  std::vector<int64_t> mark_position;  // of document m * kStride
  std::vector<int64_t> mark_counts;    // a row of counts each

  bool AtEnd(const Cursor& cursor) const { return !options.repeat && cursor.ordinal >= documents; }

  int32_t DrawSet(int64_t ordinal) const {
    if (parts.size() == 1) return 0;
    const auto bits = base::Philox(mixture_key, static_cast<uint64_t>(ordinal), kMixture);
    const double draw = base::UnitDouble(bits[0], bits[1]);
    size_t set = 0;
    while (set + 1 < parts.size() && draw >= bounds[set]) ++set;
    return static_cast<int32_t>(set);
  }

  // Fills in which document the cursor is at, unless it is at the end.
  void Look(Cursor* cursor) const {
    if (AtEnd(*cursor)) return;
    cursor->set = DrawSet(cursor->ordinal);
    const TokenSet& set = *parts[cursor->set].set;
    const int64_t index = cursor->counts[cursor->set];
    cursor->epoch = index / set.documents();
    cursor->document = index % set.documents();
    if (options.shuffle) {
      const Permutation order(static_cast<uint64_t>(set.documents()), keys[cursor->set],
                              static_cast<uint64_t>(cursor->epoch));
      cursor->document = static_cast<int64_t>(order(static_cast<uint64_t>(cursor->document)));
    }
    cursor->length = set.Length(cursor->document);
  }

  void Step(Cursor* cursor) const {
    ++cursor->counts[cursor->set];
    cursor->position += cursor->length;
    ++cursor->ordinal;
    Look(cursor);
  }

  // The document that has the token at `position`, which is before the end.
  Cursor Find(int64_t position) {
    Cursor cursor;
    {
      const std::lock_guard<std::mutex> lock(mutex);
      while (frontier.position <= position && !AtEnd(frontier)) {
        mark_position.push_back(frontier.position);
        mark_counts.insert(mark_counts.end(), frontier.counts.begin(), frontier.counts.end());
        for (int64_t i = 0; i < kStride && !AtEnd(frontier); ++i) Step(&frontier);
      }
      const size_t mark =
          std::upper_bound(mark_position.begin(), mark_position.end(), position) - mark_position.begin() - 1;
      cursor.ordinal = static_cast<int64_t>(mark) * kStride;
      cursor.position = mark_position[mark];
      const auto counts = mark_counts.begin() + static_cast<int64_t>(mark * parts.size());
      cursor.counts.assign(counts, counts + static_cast<int64_t>(parts.size()));
    }
    Look(&cursor);
    while (cursor.position + cursor.length <= position) Step(&cursor);
    return cursor;
  }
};

DocumentStream::DocumentStream(std::unique_ptr<State> state) : state_(std::move(state)) {}
DocumentStream::DocumentStream(DocumentStream&&) noexcept = default;
DocumentStream& DocumentStream::operator=(DocumentStream&&) noexcept = default;
DocumentStream::~DocumentStream() = default;

base::Result<DocumentStream> DocumentStream::Make(std::vector<MixturePart> parts,
                                                  const StreamOptions& options) {
  if (parts.empty()) return base::BadInput("there is no data to read from");
  if (!options.repeat && parts.size() > 1)
    return base::BadInput("a single pass takes one data set, not {}", parts.size());
  auto state = std::make_unique<State>();
  double sum = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const MixturePart& part = parts[i];
    if (part.set->documents() == 0) return base::BadInput("data set {} of the mixture has no documents", i);
    if (!(part.weight > 0) || !std::isfinite(part.weight))
      return base::BadInput("the weight of data set {} is {}, but must be above 0", i, part.weight);
    // A set of long documents is drawn less often for the same share of tokens.
    sum += part.weight * static_cast<double>(part.set->documents()) / static_cast<double>(part.set->tokens());
    state->bounds.push_back(sum);
    state->keys.push_back(KeyFor(options.seed, kEpochOrder, i));
    state->documents += part.set->documents();
    state->tokens += part.set->tokens();
  }
  for (double& bound : state->bounds) bound /= sum;
  state->mixture_key = KeyFor(options.seed, kMixture);
  state->frontier.counts.assign(parts.size(), 0);
  state->parts = std::move(parts);
  state->options = options;
  state->Look(&state->frontier);
  return DocumentStream(std::move(state));
}

int64_t DocumentStream::end() const { return state_->options.repeat ? INT64_MAX : state_->tokens; }
int64_t DocumentStream::tokens_per_epoch() const { return state_->tokens; }

base::Result<Row> DocumentStream::Pack(int64_t position, int64_t length, int64_t chain_start) const {
  FT_CHECK(position >= 0 && length >= 1 && chain_start <= position && position < end());
  length = std::min(length, end() - position);
  Row row;
  row.ids.resize(length);
  row.targets.resize(length);
  std::vector<int32_t> ids;
  std::vector<uint8_t> counts;
  State::Cursor cursor = state_->Find(position);
  for (int64_t done = 0; done < length; state_->Step(&cursor)) {
    Piece piece;
    piece.set = cursor.set;
    piece.document = cursor.document;
    piece.epoch = cursor.epoch;
    piece.offset = position + done - cursor.position;
    piece.begin = static_cast<int32_t>(done);
    const int64_t take = std::min(cursor.length - piece.offset, length - done);
    piece.length = static_cast<int32_t>(take);
    piece.continues = piece.offset > 0 && position > chain_start;
    if (piece.continues) piece.first_position = position - std::max(cursor.position, chain_start);
    // One token more where there is one: the last target.
    const int64_t read = std::min(take + 1, cursor.length - piece.offset);
    ids.resize(read);
    counts.resize(read);
    FT_RETURN_IF_ERROR(
        state_->parts[cursor.set].set->Read(cursor.document, piece.offset, read, ids.data(), counts.data()));
    std::copy_n(ids.begin(), take, row.ids.begin() + done);
    for (int64_t i = 0; i < take; ++i)
      row.targets[done + i] = i + 1 < read && counts[i + 1] != 0 ? ids[i + 1] : kNoTarget;
    row.pieces.push_back(piece);
    done += take;
  }
  return row;
}

}  // namespace fusiontree::data
