#include "cli/conversation.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/json.h"
#include "report/json.h"

namespace fusiontree::cli {

std::string MessagesJson(const std::vector<Message>& messages, int indent) {
  report::Json json(indent);
  json.BeginArray();
  for (const Message& message : messages)
    json.BeginObject().Key("role").Text(message.role).Key("content").Text(message.content).EndObject();
  return json.EndArray().text();
}

base::Status SaveConversation(const std::string& path, const std::vector<Message>& messages) {
  const std::string text = "{\"messages\": " + MessagesJson(messages, 2) + "}\n";
  FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) return base::BadInput("cannot write {}: {}", path, std::strerror(errno));
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const bool closed = std::fclose(file) == 0;
  if (!written || !closed) return base::Failed("cannot write {}: {}", path, std::strerror(errno));
  return base::OkStatus();
}

base::Result<std::vector<Message>> ParseConversation(std::string_view text) {
  using nlohmann::json;
  FT_ASSIGN_OR_RETURN(const json document, base::ParseJson(text));
  const json* list = &document;
  if (document.is_object() && document.contains("messages")) list = &document["messages"];
  if (!list->is_array()) return base::BadInput("a JSON list of messages is expected, as /save writes it");
  std::vector<Message> messages;
  for (const json& item : *list) {
    const bool usable = item.is_object() && item.contains("role") && item["role"].is_string() &&
                        item.contains("content") && item["content"].is_string();
    if (!usable)
      return base::BadInput("message {} must be {{\"role\": TEXT, \"content\": TEXT}}", messages.size());
    messages.push_back({item["role"].get<std::string>(), item["content"].get<std::string>()});
  }
  return messages;
}

}  // namespace fusiontree::cli
