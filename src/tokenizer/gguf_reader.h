// Reads the tokenizer out of a GGUF file's metadata (keys tokenizer.ggml.*).
#ifndef FUSIONTREE_TOKENIZER_GGUF_READER_H_
#define FUSIONTREE_TOKENIZER_GGUF_READER_H_

#include "base/status.h"
#include "checkpoint/metadata.h"
#include "tokenizer/parts.h"

namespace fusiontree::tokenizer {

// Models "gpt2" (byte-level BPE; the pre-tokeniser by its name in tokenizer.ggml.pre) and "llama"
// (SentencePiece).
base::Result<Parts> ReadTokenizerGguf(const checkpoint::Metadata& metadata);

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_GGUF_READER_H_
