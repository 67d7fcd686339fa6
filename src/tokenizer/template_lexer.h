// Cuts a chat template into tokens as Jinja's lexer does with trim_blocks and lstrip_blocks.
#ifndef FUSIONTREE_TOKENIZER_TEMPLATE_LEXER_H_
#define FUSIONTREE_TOKENIZER_TEMPLATE_LEXER_H_

#include <string>
#include <vector>

#include "base/status.h"

namespace fusiontree::tokenizer {

enum class TokenKind {
  kData,
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,  // text is the operator itself
  kEnd,
};

struct Token {
  TokenKind kind;
  int line;
  std::string text;  // name, operator, data; strings with their escapes resolved
  int64_t integer = 0;
  double real = 0;
};

// The last token is kEnd. Errors begin with "chat template line N: ".
base::Result<std::vector<Token>> LexTemplate(const std::string& source);

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_TEMPLATE_LEXER_H_
