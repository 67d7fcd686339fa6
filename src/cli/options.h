// The options of one command, each bound to a variable of the command. Values are taken as typed; what is
// wrong with one is said in a sentence that names the option, the range and the value.
#ifndef FUSIONTREE_CLI_OPTIONS_H_
#define FUSIONTREE_CLI_OPTIONS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace fusiontree::cli {

// `names` as "-p,--prompt". `value` is what --help shows for the argument: "TEXT". Variables keep their
// contents when an option is absent, and outlive the parse.
class Options {
 public:
  void Argument(const std::string& name, const std::string& help, std::string* out);
  void Arguments(const std::string& name, const std::string& help,
                 std::vector<std::string>* out);  // may be none
  void Flag(const std::string& names, const std::string& help, bool* out);
  void Text(const std::string& names, const std::string& value, const std::string& help,
            std::optional<std::string>* out);
  void Texts(const std::string& names, const std::string& value, const std::string& help,
             std::vector<std::string>* out);  // may be repeated
  void Choice(const std::string& names, const std::vector<std::string>& choices, const std::string& help,
              std::string* out);
  void Integer(const std::string& names, const std::string& help, int64_t low, int64_t high, int64_t* out);
  void Integer(const std::string& names, const std::string& help, int64_t low, int64_t high,
               std::optional<int64_t>* out);
  void Number(const std::string& names, const std::string& help, double low, double high,
              std::optional<double>* out);

  // Options take the next argument whatever it looks like, or what follows "=" (or a short name); "--" ends
  // them. Of an option given twice the last value counts, unless it may be repeated.
  base::Status Parse(const std::vector<std::string>& arguments);
  bool help_asked() const { return help_asked_; }
  // "MODEL [TEXT...] [options]", and the lists of both with what they are for.
  std::string Usage() const;
  std::string Help() const;

 private:
  using Store = std::function<base::Status(const std::string&)>;
  struct Option {
    std::string name;        // "--prompt" or "MODEL"
    std::string short_name;  // "-p" or empty
    std::string value;       // "TEXT"; empty for a flag
    std::string help;
    bool many = false;  // arguments only
    Store store;
  };
  void Add(const std::string& names, const std::string& value, const std::string& help, Store store);
  const Option* Find(const std::string& name) const;
  base::Status UnknownOption(const std::string& name) const;

  std::vector<Option> options_;
  std::vector<Option> arguments_;
  bool help_asked_ = false;
};

// The whole of `text` as a number in [low, high]; `what` begins the sentence otherwise.
base::Result<int64_t> ParseInteger(const std::string& what, const std::string& text, int64_t low,
                                   int64_t high);
base::Result<double> ParseNumber(const std::string& what, const std::string& text, double low, double high);

// "1,2,4" as the value of an option: each number in its range.
base::Result<std::vector<int64_t>> ParseNumbers(const std::string& option, const std::string& list,
                                                int64_t lowest, int64_t highest);

}  // namespace fusiontree::cli

#endif  // FUSIONTREE_CLI_OPTIONS_H_
