#include "tokenizer/sentencepiece.h"

#include <algorithm>
#include <cmath>

#include "base/utf8.h"
#include "tokenizer/space_mark.h"

namespace fusiontree::tokenizer {
namespace {

bool Worse(const PieceCandidate& a, const PieceCandidate& b) {
  return a.score != b.score ? a.score < b.score : a.position > b.position;
}

}  // namespace

base::Result<std::unique_ptr<SentencePiece>> SentencePiece::Make(const Vocabulary* vocabulary,
                                                                 std::vector<double> scores,
                                                                 const std::array<int32_t, 256>& byte_ids,
                                                                 int32_t unk) {
  if (scores.size() != static_cast<size_t>(vocabulary->size()))
    return base::BadInput("the vocabulary has {} tokens and {} scores", vocabulary->size(), scores.size());
  std::unique_ptr<SentencePiece> model(new SentencePiece());
  model->cuts_at_space_marks_ = true;
  for (int32_t id = 0; id < vocabulary->size(); ++id) {
    const std::string_view text = vocabulary->Text(id);
    if (std::isnan(scores[id])) return base::BadInput("token \"{}\" has a score that is no number", text);
    if (HasInnerSpaceMark(text) && vocabulary->Find(text) == id) model->cuts_at_space_marks_ = false;
  }
  model->vocabulary_ = vocabulary;
  model->scores_ = std::move(scores);
  model->byte_ids_ = byte_ids;
  model->unk_ = unk;
  return model;
}

void SentencePiece::EncodeWord(std::string_view word, MergeScratch* scratch,
                               std::vector<int32_t>* out) const {
  std::vector<PieceSymbol>& symbols = scratch->pieces;
  std::vector<PieceCandidate>& heap = scratch->piece_heap;
  symbols.clear();
  heap.clear();
  for (uint32_t offset = 0; offset < word.size();) {
    const auto bytes = static_cast<uint32_t>(base::Utf8Length(word[offset]));
    const auto index = static_cast<int32_t>(symbols.size());
    symbols.push_back({offset, bytes, index - 1, index + 1});
    offset += bytes;
  }
  if (symbols.empty()) return;
  symbols.back().next = -1;
  const auto push = [&](int32_t left, bool keep_order) {
    if (left < 0 || symbols[left].next < 0) return;
    const uint32_t bytes = symbols[left].bytes + symbols[symbols[left].next].bytes;
    if (bytes > vocabulary_->longest()) return;
    const int32_t id = vocabulary_->Find(word.substr(symbols[left].begin, bytes));
    if (id < 0) return;
    heap.push_back({scores_[id], static_cast<uint32_t>(left), bytes});
    if (keep_order) std::push_heap(heap.begin(), heap.end(), Worse);
  };
  for (size_t i = 0; i < symbols.size(); ++i) push(static_cast<int32_t>(i), false);
  std::make_heap(heap.begin(), heap.end(), Worse);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), Worse);
    const PieceCandidate top = heap.back();
    heap.pop_back();
    PieceSymbol& left = symbols[top.position];
    if (left.bytes == 0 || left.next < 0) continue;
    PieceSymbol& right = symbols[left.next];
    if (left.bytes + right.bytes != top.bytes) continue;  // a neighbour has changed since
    left.bytes = top.bytes;
    right.bytes = 0;
    left.next = right.next;
    const auto position = static_cast<int32_t>(top.position);
    if (left.next >= 0) symbols[left.next].previous = position;
    push(position, true);
    push(left.previous, true);
  }
  for (int32_t i = 0; i >= 0; i = symbols[i].next) {
    const std::string_view text = word.substr(symbols[i].begin, symbols[i].bytes);
    const int32_t id = vocabulary_->Find(text);
    if (id >= 0) {
      out->push_back(id);
      continue;
    }
    for (const char byte : text) {
      const int32_t byte_id = byte_ids_[static_cast<uint8_t>(byte)];
      if (byte_id >= 0) out->push_back(byte_id);
      if (byte_id < 0 && unk_ >= 0) {
        out->push_back(unk_);  // one for the whole character
        break;
      }
    }
  }
}

}  // namespace fusiontree::tokenizer
