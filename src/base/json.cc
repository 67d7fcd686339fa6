#include "base/json.h"

#include <set>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace fusiontree::base {
namespace {

using nlohmann::json;

// The parser keeps its own stack on the heap, so depth costs nothing before it is refused here.
class Checker : public nlohmann::json_sax<json> {
 public:
  const Status& status() const { return status_; }
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(size_t) override { return Open(); }
  bool end_object() override { return Close(); }
  bool start_array(size_t) override { return Open(); }
  bool end_array() override { return Close(); }
  bool key(string_t& name) override {
    return keys_.back().insert(name).second ||
           Stop(BadInput("it has the key {} twice in one object", Quote(name)));
  }
  bool parse_error(size_t position, const std::string& token, const json::exception&) override {
    return Stop(BadInput("it is not valid JSON at byte {}, near {}", position, Quote(token)));
  }

 private:
  bool Open() {
    keys_.emplace_back();
    return keys_.size() <= kMaxJsonDepth ||
           Stop(BadInput("it is nested deeper than {} levels", kMaxJsonDepth));
  }
  bool Close() {
    keys_.pop_back();
    return true;
  }
  bool Stop(Status error) {
    status_ = std::move(error);
    return false;
  }
  std::vector<std::set<std::string>> keys_;
  Status status_;
};

}  // namespace

Status CheckJsonText(std::string_view text) {
  if (text.empty()) return BadInput("it is empty, where JSON was expected");
  if (text.starts_with("\xef\xbb\xbf")) return BadInput("it is not valid JSON at byte 0: a byte order mark");
  const size_t valid = ValidUtf8Prefix(text);
  if (valid != text.size()) return BadInput("it is not UTF-8 at byte {}", valid);
  const size_t nul = text.find('\0');
  if (nul != std::string_view::npos) return BadInput("it is not valid JSON at byte {}: NUL", nul);
  return OkStatus();
}

Result<json> ParseJson(std::string_view text) {
  FT_RETURN_IF_ERROR(CheckJsonText(text));
  Checker checker;
  if (!json::sax_parse(text.begin(), text.end(), &checker)) return checker.status();
  return json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
}

}  // namespace fusiontree::base
