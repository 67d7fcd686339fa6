// SentencePiece's BPE as GGUF files carry it: no list of merges, the token with the best score is made first
// (llama.cpp's tokenizer model "llama").
#ifndef FUSIONTREE_TOKENIZER_SENTENCEPIECE_H_
#define FUSIONTREE_TOKENIZER_SENTENCEPIECE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "tokenizer/model.h"
#include "tokenizer/vocabulary.h"

namespace fusiontree::tokenizer {

class SentencePiece : public Model {
 public:
  // `vocabulary` outlives the model; only what its Find sees is ever made. `scores` by id. `byte_ids`: the
  // token of each byte, -1 where there is none; a character that is no token becomes its bytes, or `unk` (-1:
  // dropped).
  static base::Result<std::unique_ptr<SentencePiece>> Make(const Vocabulary* vocabulary,
                                                           std::vector<double> scores,
                                                           const std::array<int32_t, 256>& byte_ids,
                                                           int32_t unk);

  // `word` spells spaces as U+2581.
  void EncodeWord(std::string_view word, MergeScratch* scratch, std::vector<int32_t>* out) const override;
  bool cuts_at_space_marks() const override { return cuts_at_space_marks_; }

 private:
  SentencePiece() = default;

  const Vocabulary* vocabulary_ = nullptr;
  std::vector<double> scores_;
  std::array<int32_t, 256> byte_ids_{};
  int32_t unk_ = -1;
  bool cuts_at_space_marks_ = false;
};

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_SENTENCEPIECE_H_
