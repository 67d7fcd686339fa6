// Lines that a person types: with editing and history on a terminal, plain from a pipe.
#ifndef FUSIONTREE_CLI_LINE_INPUT_H_
#define FUSIONTREE_CLI_LINE_INPUT_H_

#include <optional>
#include <string>

namespace fusiontree::cli {

class LineInput {
 public:
  LineInput();
  bool terminal() const { return terminal_; }
  // The next line without its newline; nothing at the end of input. Ctrl-C empties the line that is being
  // typed and asks again (an InterruptScope must be alive). From a pipe nothing is printed.
  std::optional<std::string> Next(const std::string& prompt);

 private:
  bool terminal_;
};

}  // namespace fusiontree::cli

#endif  // FUSIONTREE_CLI_LINE_INPUT_H_
