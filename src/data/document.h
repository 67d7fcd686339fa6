// A document: text, and which of it is to be learnt.
#ifndef FUSIONTREE_DATA_DOCUMENT_H_
#define FUSIONTREE_DATA_DOCUMENT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "data/document_reader.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/span.h"
#include "tokenizer/tokenizer.h"

namespace fusiontree::data {

struct Document {
  std::string text;  // well-formed UTF-8
  bool chat = false;
  std::vector<tokenizer::Span> data;  // of a chat: bytes that are text whatever they spell
  bool masked = false;                // only tokens that touch `loss` are targets
  std::vector<tokenizer::Span> loss;  // bytes, ascending, apart
};

// Turns a raw document into one: a text as it is, or a line of JSON, an object with
//   "text": TEXT                  (or another key, by option)
//   "loss_mask": [[BEGIN, END], …]  optional, with a text: the characters (code points, as Python counts
//   them)
//                                   to be learnt; ranges ascend and do not overlap
// or, in its place, "messages" (and "tools"): a conversation that the tokenizer's chat template renders, of
// which the assistant's turns are learnt. Other keys are ignored. Dates in templates are those of
// kTemplateDay.
class DocumentParser {
 public:
  static constexpr int64_t kTemplateDay = 1721952000;  // 2024-07-26, what Llama 3's template names by default

  // Without a tokenizer (to train one) a conversation is the contents of its messages, a line each. It must
  // outlive the parser.
  static base::Result<DocumentParser> Make(const tokenizer::Tokenizer* tokenizer,
                                           std::string text_key = "text");

  // Safe from many threads. Errors do not name the place: "there is no \"text\" and no \"messages\"".
  base::Result<Document> Parse(const RawDocument& raw) const;

 private:
  DocumentParser(const tokenizer::Tokenizer* tokenizer, std::string text_key);
  base::Result<Document> Render(const std::string& messages, size_t count, const std::vector<bool>& assistant,
                                const std::optional<std::string>& tools) const;

  const tokenizer::Tokenizer* tokenizer_;
  std::string text_key_;
  std::shared_ptr<const tokenizer::ChatTemplate> template_;  // null: the tokenizer has none
};

// The ids of a document with its end-of-text token, which is there once.
struct EncodedDocument {
  std::vector<int32_t> ids;
  std::vector<bool> targets;  // of each id: may be predicted for loss; empty: all
  uint64_t text_bytes = 0;
};

// Safe from many threads. Errors: no end-of-text token; a loss mask without a target, or on a text that the
// tokenizer spells differently than it stands there (a normalising one), so that tokens have no place in it.
base::Result<EncodedDocument> EncodeDocument(const Document& document, const tokenizer::Tokenizer& tokenizer);

}  // namespace fusiontree::data

#endif  // FUSIONTREE_DATA_DOCUMENT_H_
