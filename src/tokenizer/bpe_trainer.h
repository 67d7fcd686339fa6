// Learns a byte-level BPE vocabulary from text: how often each word occurs, then again and again the most
// frequent pair of neighbours becomes a token. The same texts give the same files, whatever the number of
// threads and the order of the texts. Without words longer than kMaxWordBytes and without spellings of
// special tokens the merges are those of Hugging Face's BpeTrainer with ByteLevel.alphabet() as initial
// alphabet.
#ifndef FUSIONTREE_TOKENIZER_BPE_TRAINER_H_
#define FUSIONTREE_TOKENIZER_BPE_TRAINER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"

namespace fusiontree::tokenizer {

// How text is cut into words, within which alone merges happen: GPT-2's pattern, or Qwen2's (digits one by
// one, punctuation joins the letters behind it, line ends apart). Neither changes a byte of the text.
enum class WordPattern { kGpt2, kQwen2 };

struct BpeTrainerOptions {
  int32_t vocab_size = 4096;  // special tokens and the 256 bytes included
  int64_t min_count = 2;      // rarer pairs are not merged
  WordPattern pattern = WordPattern::kQwen2;
  // Ids 0, 1, …; each a text of its own. Spelt in a text they are only text.
  std::vector<std::string> special_tokens = {"<|endoftext|>"};
  // One of special_tokens each; empty: none, and for eos the first of them.
  std::string eos_token, bos_token, pad_token;
  std::string chat_template;  // Jinja, empty: none
};

// Ids: special tokens, the 256 bytes in the order of their characters, then one a merge (two merges may make
// the same token).
struct BpeVocabulary {
  std::vector<std::string> tokens;  // the bytes of each id; of a special token its spelling
  std::vector<std::pair<int32_t, int32_t>> merges;
  int64_t text_bytes = 0, text_tokens = 0;  // of the texts, and what they become
};

class BpeTrainer {
 public:
  // Longer words are counted as pieces of at most so many bytes, cut between characters, so that a text
  // without a space costs no more than another.
  static constexpr size_t kMaxWordBytes = 256;

  static base::Result<BpeTrainer> Make(const BpeTrainerOptions& options);
  BpeTrainer(BpeTrainer&&) noexcept;
  BpeTrainer& operator=(BpeTrainer&&) noexcept;
  ~BpeTrainer();

  // Counts the words of texts, each well-formed UTF-8, over the pool's threads. Memory grows with the number
  // of different words.
  base::Status Add(std::span<const std::string_view> texts, base::ThreadPool* pool);

  // May end below vocab_size: when no pair is left that occurs min_count times. `progress` is called with
  // 0..1.
  BpeVocabulary Train(const std::function<void(double)>& progress) const;

  // The files of a Hugging Face tokenizer folder: tokenizer.json and tokenizer_config.json.
  std::string TokenizerJson(const BpeVocabulary& vocabulary) const;
  std::string ConfigJson() const;

 private:
  struct State;
  explicit BpeTrainer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_BPE_TRAINER_H_
