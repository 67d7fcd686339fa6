#include "checkpoint/json_events.h"

#include "base/json.h"

namespace fusiontree::checkpoint {

using base::BadInput;
using base::Quote;
using base::Status;
using nlohmann::json;

Status ParseJson(std::string_view text, JsonEvents* events) {
  FT_RETURN_IF_ERROR(base::CheckJsonText(text));
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
