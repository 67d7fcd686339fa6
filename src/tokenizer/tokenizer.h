// Text to token ids and back: the ids of Hugging Face `tokenizers` for byte-level BPE (GPT-2, Qwen2, Llama 3,
// SmolLM2 and their like) and SentencePiece-style BPE (Llama 2, TinyLlama, Mistral).
#ifndef FUSIONTREE_TOKENIZER_TOKENIZER_H_
#define FUSIONTREE_TOKENIZER_TOKENIZER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/metadata.h"
#include "tokenizer/added_tokens.h"

namespace fusiontree::tokenizer {

struct Parts;
class StreamDecoder;

// What a folder's tokenizer is made of, where they are there; the first always is.
inline constexpr const char* kTokenizerFiles[] = {"tokenizer.json", "tokenizer_config.json",
                                                  "special_tokens_map.json", "chat_template.jinja",
                                                  "chat_template.json"};

struct EncodeOptions {
  bool allow_special = false;  // spellings of special tokens become those tokens; otherwise they stay text
  bool add_special_tokens = true;  // bos and what else the tokenizer puts around a text
  bool lossy = false;              // bytes that are no UTF-8 become U+FFFD; otherwise they are an error
};

// Immutable and safe to use from many threads; each keeps a cache of words while it encodes.
class Tokenizer {
 public:
  // tokenizer.json of a folder (with tokenizer_config.json, chat_template.jinja or chat_template.json and
  // special_tokens_map.json where they are), or a GGUF file's metadata.
  static base::Result<Tokenizer> Load(const checkpoint::Checkpoint& checkpoint);
  // The same of a folder that need not hold a model.
  static base::Result<Tokenizer> LoadFolder(const std::string& folder);
  // The config may be empty. Everything that would change ids and is not understood is an error that names
  // it.
  static base::Result<Tokenizer> FromJson(std::string_view tokenizer_json,
                                          std::string_view tokenizer_config_json);
  static base::Result<Tokenizer> FromGguf(const checkpoint::Metadata& metadata);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // O(n log n) for any text of up to kMaxTextBytes. Errors: not UTF-8 (with the offset), too long.
  static constexpr size_t kMaxTextBytes = size_t{256} << 20;
  base::Result<std::vector<int32_t>> Encode(std::string_view text, const EncodeOptions& options = {}) const;
  // Encodes a rendered conversation: special tokens are found outside the given byte ranges (what users
  // wrote) and nowhere else. Ranges change nothing but that: they are no borders for words or merges.
  base::Result<std::vector<int32_t>> EncodeSpans(std::string_view text, std::vector<Span> data,
                                                 bool add_special_tokens = false) const;

  // Error for an id outside the vocabulary. The text is well-formed UTF-8 whatever the ids.
  base::Result<std::string> Decode(std::span<const int32_t> ids, bool skip_special = true) const;

  size_t vocab_size() const;  // one more than the highest id; a model's embedding may have more rows
  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;  // the first of eos_ids
  std::optional<int32_t> unk_id() const;
  std::optional<int32_t> pad_id() const;
  const std::vector<int32_t>& eos_ids() const;
  const std::string& chat_template() const;  // Jinja source, empty when there is none
  const std::string& description() const;    // one line for people

  bool Has(int32_t id) const;
  std::string_view TokenText(
      int32_t id) const;  // as the vocabulary spells it; empty when there is no such id
  bool IsSpecial(int32_t id) const;
  // The id of an exact vocabulary or added token.
  std::optional<int32_t> FindToken(std::string_view text) const;

 private:
  friend class StreamDecoder;
  struct State;
  explicit Tokenizer(Parts parts);
  using FileReader = std::function<base::Result<std::optional<std::string>>(const std::string& name)>;
  static base::Result<Tokenizer> FromFiles(const std::string& folder, const FileReader& read);
  base::Result<std::vector<int32_t>> EncodeChecked(std::string_view text, const DataSpans& data,
                                                   bool add_special_tokens) const;
  std::unique_ptr<State> state_;
};

// Decodes ids as they come. The tokenizer must outlive it. To continue a text, Push its ids first and drop
// what comes out: the first token of a text may be spelt differently.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = true);
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;

  // Complete characters only. An id outside the vocabulary (a padded embedding row) gives nothing.
  std::string Push(int32_t id);
  // What is left, with U+FFFD for a half character; afterwards a new text may begin.
  std::string Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_TOKENIZER_H_
