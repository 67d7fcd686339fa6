// One packed training row, and which parts of which documents it is made of.
#ifndef FUSIONTREE_DATA_ROW_H_
#define FUSIONTREE_DATA_ROW_H_

#include <cstdint>
#include <vector>

namespace fusiontree::data {

inline constexpr int32_t kNoTarget = -1;

// Consecutive tokens of one document in a row. Attention does not cross its borders.
struct Piece {
  int32_t set = 0;             // of the mixture
  int64_t document = 0;        // of the set
  int64_t epoch = 0;           // of the set: how often it was gone through before
  int64_t offset = 0;          // of the first token in the document
  int32_t begin = 0;           // of the first token in the row
  int32_t length = 0;          // tokens
  int64_t first_position = 0;  // what the model counts positions from
  // The row before on the same lane ended with the tokens before these: with state passing the recurrent
  // state and the convolution windows go on. Only ever the first piece of a row.
  bool continues = false;
};

struct Row {
  std::vector<int32_t> ids;
  // The next token of the same document for each id, also where that lies in the next row; kNoTarget for the
  // last of a document and where the loss mask says so.
  std::vector<int32_t> targets;
  std::vector<Piece> pieces;  // in order, together the row

  int64_t CountTargets() const {
    int64_t count = 0;
    for (const int32_t target : targets) count += target != kNoTarget;
    return count;
  }
};

}  // namespace fusiontree::data

#endif  // FUSIONTREE_DATA_ROW_H_
