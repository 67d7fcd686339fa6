#include "checkpoint/json_events.h"

namespace fusiontree::checkpoint {

using base::BadInput;
using base::Quote;
using base::Status;
using nlohmann::json;

Status ParseJson(std::string_view text, JsonEvents* events) {
  if (text.empty()) return BadInput("it is empty, where a JSON object was expected");
  const size_t valid = base::ValidUtf8Prefix(text);
  if (valid != text.size()) return BadInput("it is not UTF-8 at byte {}", valid);
  // The library takes a NUL for the end of the text and would ignore what follows it.
  const size_t nul = text.find('\0');
  if (nul != std::string_view::npos) return BadInput("it is not valid JSON at byte {}: NUL", nul);
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '{') {
    return BadInput("it is not a JSON object: it starts with {}", Quote(text.substr(0, 16)));
  }
  if (!json::sax_parse(text.begin(), text.end(), static_cast<json::json_sax_t*>(events))) {
    return events->status().ok() ? BadInput("it is not valid JSON") : events->status();
  }
  return events->status();
}

}  // namespace fusiontree::checkpoint
