#include "data/document.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/json.h"
#include "base/utf8.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/chat_prompt.h"

namespace fusiontree::data {
namespace {

using base::BadInput;
using nlohmann::json;
using Ordered = nlohmann::ordered_json;
using tokenizer::Span;

// "loss_mask": ranges of characters to ranges of bytes.
base::Result<std::vector<Span>> ReadMask(const json& mask, const std::string& text) {
  if (!mask.is_array()) return BadInput("\"loss_mask\" is no list of [BEGIN, END]");
  std::vector<Span> spans;
  size_t byte = 0;
  uint64_t character = 0;  // of `byte`
  const auto byte_of = [&](uint64_t wanted) {
    for (; character < wanted && byte < text.size(); ++character) byte += base::Utf8Length(text[byte]);
    return character == wanted;
  };
  for (size_t i = 0; i < mask.size(); ++i) {
    const json& range = mask[i];
    if (!range.is_array() || range.size() != 2 || !range[0].is_number_unsigned() ||
        !range[1].is_number_unsigned())
      return BadInput("entry {} of \"loss_mask\" is not [BEGIN, END], two numbers of characters", i);
    const uint64_t begin = range[0], end = range[1];
    if (begin >= end || (i > 0 && begin < character))
      return BadInput("entry {} of \"loss_mask\" is [{}, {}], which is empty or not behind the one before", i,
                      begin, end);
    Span span;
    bool inside = byte_of(begin);
    span.begin = byte;
    inside = inside && byte_of(end);
    span.end = byte;
    if (!inside)
      return BadInput("entry {} of \"loss_mask\" is [{}, {}], but the text has {} characters", i, begin, end,
                      character);
    spans.push_back(span);
  }
  return spans;
}

// Where each token lies in the text it was made from: the end of each in bytes; false when the tokens do not
// spell the text byte by byte.
bool PlaceTokens(const std::vector<int32_t>& ids, const tokenizer::Tokenizer& tokenizer,
                 std::string_view text, std::vector<size_t>* ends) {
  size_t at = 0;
  std::string bytes;
  for (const int32_t id : ids) {
    const std::string_view spelt = tokenizer.TokenText(id);
    bytes.clear();
    bool in_alphabet = !tokenizer.IsSpecial(id);
    for (size_t i = 0; in_alphabet && i < spelt.size();) {
      const int byte = tokenizer::CharacterToByte(base::NextUtf8(spelt, &i));
      in_alphabet = byte >= 0;
      if (in_alphabet) bytes += static_cast<char>(byte);
    }
    const std::string_view rest = text.substr(at);
    if (in_alphabet && rest.starts_with(bytes)) {
      at += bytes.size();
    } else if (rest.starts_with(spelt)) {
      at += spelt.size();
    } else {
      return false;
    }
    ends->push_back(at);
  }
  return at == text.size();
}

}  // namespace

DocumentParser::DocumentParser(const tokenizer::Tokenizer* tokenizer, std::string text_key)
    : tokenizer_(tokenizer), text_key_(std::move(text_key)) {}

base::Result<DocumentParser> DocumentParser::Make(const tokenizer::Tokenizer* tokenizer,
                                                  std::string text_key) {
  DocumentParser parser(tokenizer, std::move(text_key));
  if (tokenizer != nullptr && !tokenizer->chat_template().empty()) {
    FT_ASSIGN_OR_RETURN(auto parsed, tokenizer::ChatTemplate::Parse(tokenizer->chat_template()));
    parser.template_ = std::make_shared<const tokenizer::ChatTemplate>(std::move(parsed));
  }
  return parser;
}

base::Result<Document> DocumentParser::Parse(const RawDocument& raw) const {
  if (raw.too_long)
    return BadInput("the document is longer than {} bytes; cut it into several", raw.text.size());
  Document document;
  if (!raw.json) {
    const size_t bad = base::FindInvalidUtf8(raw.text);
    if (bad != std::string_view::npos)
      return BadInput(
          "byte 0x{:02X} in line {} is not UTF-8", static_cast<uint8_t>(raw.text[bad]),
          raw.line + std::count(raw.text.begin(), raw.text.begin() + static_cast<int64_t>(bad), '\n'));
    document.text = raw.text;
    return document;
  }
  FT_ASSIGN_OR_RETURN(const json object, base::ParseJson(raw.text));
  if (!object.is_object()) return BadInput("it is no JSON object");
  const auto text = object.find(text_key_);
  const auto messages = object.find("messages");
  if (text != object.end() && messages != object.end())
    return BadInput("it has both \"{}\" and \"messages\"", text_key_);
  if (text != object.end()) {
    if (!text->is_string()) return BadInput("\"{}\" is no string", text_key_);
    document.text = text->get<std::string>();
    if (const auto mask = object.find("loss_mask"); mask != object.end()) {
      document.masked = true;
      FT_ASSIGN_OR_RETURN(document.loss, ReadMask(*mask, document.text));
    }
    return document;
  }
  if (messages == object.end()) return BadInput("it has neither \"{}\" nor \"messages\"", text_key_);
  if (!messages->is_array() || messages->empty()) return BadInput("\"messages\" is no list of messages");
  std::vector<bool> assistant;
  for (size_t i = 0; i < messages->size(); ++i) {
    const json& message = (*messages)[i];
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string())
      return BadInput("message {} is no object with a \"role\"", i);
    assistant.push_back(message["role"] == "assistant");
    if (tokenizer_ != nullptr) continue;
    if (message.contains("content") && message["content"].is_string())
      document.text += message["content"].get<std::string>() + "\n";
  }
  if (tokenizer_ == nullptr) return document;
  // Templates print objects with their keys in the order of the file.
  const Ordered ordered = Ordered::parse(raw.text);
  std::optional<std::string> tools;
  if (const auto found = ordered.find("tools"); found != ordered.end() && !found->is_null())
    tools = found->dump();
  return Render(ordered["messages"].dump(), messages->size(), assistant, tools);
}

// The assistant's turn i is what the messages up to i add to a prompt of those before it, which must be the
// beginning of the whole: what the model would be asked to continue, and what it should then write.
base::Result<Document> DocumentParser::Render(const std::string& messages, size_t count,
                                              const std::vector<bool>& assistant,
                                              const std::optional<std::string>& tools) const {
  if (!template_) return BadInput("it has \"messages\", but the tokenizer has no chat template");
  tokenizer::TemplateLimits limits;
  limits.now = kTemplateDay;
  const Ordered list = Ordered::parse(messages);
  const auto render = [&](size_t first, bool prompt) {
    tokenizer::ChatInput input;
    input.messages_json =
        Ordered(std::vector<Ordered>(list.begin(), list.begin() + static_cast<int64_t>(first))).dump();
    input.tools_json = tools;
    input.add_generation_prompt = prompt;
    return tokenizer::RenderChat(*template_, *tokenizer_, input, limits);
  };
  FT_ASSIGN_OR_RETURN(tokenizer::RenderedPrompt whole, render(count, false));
  Document document;
  document.chat = true;
  document.masked = true;
  for (size_t i = 0; i < count; ++i) {
    if (!assistant[i]) continue;
    FT_ASSIGN_OR_RETURN(const tokenizer::RenderedPrompt before, render(i, true));
    std::string after = whole.text;
    if (i + 1 < count) {
      FT_ASSIGN_OR_RETURN(tokenizer::RenderedPrompt part, render(i + 1, false));
      after = std::move(part.text);
    }
    if (!after.starts_with(before.text) || !whole.text.starts_with(after))
      return BadInput(
          "the chat template rewrites earlier messages, so the assistant's message {} has no place of its "
          "own",
          i);
    document.loss.push_back({before.text.size(), after.size()});
  }
  document.text = std::move(whole.text);
  document.data = std::move(whole.data_spans);
  return document;
}

base::Result<EncodedDocument> EncodeDocument(const Document& document,
                                             const tokenizer::Tokenizer& tokenizer) {
  if (!tokenizer.eos_id()) return BadInput("the tokenizer names no end-of-text token (eos_token)");
  EncodedDocument encoded;
  encoded.text_bytes = document.text.size();
  if (document.chat) {
    FT_ASSIGN_OR_RETURN(encoded.ids, tokenizer.EncodeSpans(document.text, document.data));
  } else {
    // With a mask nothing is put around the text, because that would have no place in it.
    FT_ASSIGN_OR_RETURN(encoded.ids,
                        tokenizer.Encode(document.text, {.add_special_tokens = !document.masked}));
  }
  if (document.masked) {
    std::vector<size_t> ends;
    if (!PlaceTokens(encoded.ids, tokenizer, document.text, &ends))
      return BadInput("the tokenizer respells its text, so the tokens to be learnt cannot be told");
    size_t span = 0;
    for (size_t i = 0, begin = 0; i < ends.size(); begin = ends[i++]) {
      while (span < document.loss.size() && document.loss[span].end <= begin) ++span;
      encoded.targets.push_back(span < document.loss.size() && document.loss[span].begin < ends[i]);
    }
    // The first token is never predicted.
    if (std::find(encoded.targets.begin() + !encoded.targets.empty(), encoded.targets.end(), true) ==
        encoded.targets.end())
      return BadInput("nothing of it is to be learnt: {}",
                      document.chat ? "no message is the assistant's" : "\"loss_mask\" leaves no token");
  }
  if (encoded.ids.empty() || encoded.ids.back() != *tokenizer.eos_id()) {
    encoded.ids.push_back(*tokenizer.eos_id());
    if (document.masked)
      encoded.targets.push_back(!document.loss.empty() && document.loss.back().end == document.text.size());
  }
  return encoded;
}

}  // namespace fusiontree::data
