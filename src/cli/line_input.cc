#include "cli/line_input.h"

#include <readline/history.h>
#include <readline/readline.h>
#include <stdio.h>  // before readline, which needs FILE
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "cli/interrupt.h"

namespace fusiontree::cli {
namespace {

// Called when a signal interrupts the wait for a key: the line begins anew below.
int OnSignal() {
  if (!InterruptScope::requested()) return 0;
  InterruptScope::Clear();
  rl_replace_line("", 0);
  rl_crlf();
  rl_on_new_line();
  rl_redisplay();
  return 0;
}

std::optional<std::string> PlainLine() {
  char* line = nullptr;
  size_t capacity = 0;
  const ssize_t length = getline(&line, &capacity, stdin);
  std::optional<std::string> result;
  if (length >= 0) {
    result.emplace(line, static_cast<size_t>(length));
    while (!result->empty() && (result->back() == '\n' || result->back() == '\r')) result->pop_back();
  }
  std::free(line);
  return result;
}

}  // namespace

LineInput::LineInput() : terminal_(isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1) {
  if (!terminal_) return;
  rl_catch_signals = 0;  // SIGINT is InterruptScope's
  rl_signal_event_hook = OnSignal;
  rl_bind_key('\t', rl_insert);  // no file names to complete
}

std::optional<std::string> LineInput::Next(const std::string& prompt) {
  if (!terminal_) return PlainLine();
  InterruptScope::Clear();
  char* line = readline(prompt.c_str());
  if (line == nullptr) return std::nullopt;
  std::string text = line;
  std::free(line);
  if (!text.empty()) add_history(text.c_str());
  return text;
}

}  // namespace fusiontree::cli
