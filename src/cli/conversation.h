// The messages of a chat, and their file: {"messages": [{"role": ..., "content": ...}, ...]}.
#ifndef FUSIONTREE_CLI_CONVERSATION_H_
#define FUSIONTREE_CLI_CONVERSATION_H_

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace fusiontree::cli {

struct Message {
  std::string role, content;
};

// The list as JSON, for a template or (with `indent`) for a file.
std::string MessagesJson(const std::vector<Message>& messages, int indent = 0);

base::Status SaveConversation(const std::string& path, const std::vector<Message>& messages);
// Takes what SaveConversation writes, and a bare list of messages too.
base::Result<std::vector<Message>> ParseConversation(std::string_view json);

}  // namespace fusiontree::cli

#endif  // FUSIONTREE_CLI_CONVERSATION_H_
