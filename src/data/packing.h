// Documents in an order decided by a seed alone, end to end, cut into rows: no token lost or doubled, and any
// row found without those before it.
#ifndef FUSIONTREE_DATA_PACKING_H_
#define FUSIONTREE_DATA_PACKING_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "data/row.h"
#include "data/token_set.h"

namespace fusiontree::data {

struct MixturePart {
  const TokenSet* set;  // outlives the stream
  double weight = 1;    // its share of the tokens, beside the others' weights
};

struct StreamOptions {
  uint64_t seed = 0;
  bool shuffle = true;  // else documents in their own order
  bool repeat = true;   // else one epoch of the one set
};

// A sequence of documents without end. Each set is gone through again and again, every epoch in a permutation
// of its own; which set the next document comes from is drawn so that tokens keep to the weights. A position
// is a number of tokens from the beginning. Safe to use from many threads.
//
// To find a position, the lengths of all documents before it are added up once, about 0.2 us each, and kept
// for every 64th: after a restart at a billion tokens in documents of a thousand, that is 0.3 s.
class DocumentStream {
 public:
  static base::Result<DocumentStream> Make(std::vector<MixturePart> parts, const StreamOptions& options);
  DocumentStream(DocumentStream&&) noexcept;
  DocumentStream& operator=(DocumentStream&&) noexcept;
  ~DocumentStream();

  // Where the stream ends; INT64_MAX with `repeat`.
  int64_t end() const;
  // Of all sets, each once.
  int64_t tokens_per_epoch() const;

  // The row of the tokens [position, position + length), shorter only at the end of the stream. A document
  // that began before is a piece that counts positions from 0, unless position > chain_start: then the rows
  // from chain_start on pass their state along, and it counts from its own start or from there, whichever is
  // later.
  base::Result<Row> Pack(int64_t position, int64_t length, int64_t chain_start) const;
  base::Result<Row> Pack(int64_t position, int64_t length) const { return Pack(position, length, position); }

 private:
  struct State;
  explicit DocumentStream(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// The rows of a stage of training: `steps` steps of `rows` rows of `length` tokens, from `first` on. Together
// they are the tokens [first, first + Tokens()), each once. With `lanes` (state passing) row r of a step
// continues row r of the step before; else a step has consecutive rows.
struct StageRows {
  int64_t first = 0, length = 0, rows = 0, steps = 0;
  bool lanes = false;

  int64_t Tokens() const { return length * rows * steps; }
  int64_t Position(int64_t step, int64_t row) const {
    return first + length * (lanes ? row * steps + step : step * rows + row);
  }
  // What Pack takes as chain_start.
  int64_t ChainStart(int64_t step, int64_t row) const {
    return lanes ? Position(0, row) : Position(step, row);
  }
};

}  // namespace fusiontree::data

#endif  // FUSIONTREE_DATA_PACKING_H_
