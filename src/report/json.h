// Writes JSON as it goes: for --json outputs, without a document in memory or a heavy header.
#ifndef FUSIONTREE_REPORT_JSON_H_
#define FUSIONTREE_REPORT_JSON_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fusiontree::report {

// Objects and arrays nest by Begin/End; inside an object every value follows its Key. Numbers that JSON
// cannot hold (NaN, infinity) become null; bytes that are not UTF-8 become U+FFFD.
class Json {
 public:
  // `indent` 0: all on one line.
  explicit Json(int indent = 2) : indent_(indent) {}

  Json& BeginObject();
  Json& EndObject();
  Json& BeginArray();
  Json& EndArray();
  Json& Key(std::string_view key);
  Json& Text(std::string_view value);
  Json& Integer(int64_t value);
  Json& Number(double value);  // the shortest text that reads back as the same double
  Json& Bool(bool value);
  Json& Null();
  Json& Raw(std::string_view json);  // already JSON

  const std::string& text() const { return text_; }

 private:
  void Separate();
  void Close(char bracket);
  void NewLine();

  int indent_;
  std::string text_;
  std::vector<bool> filled_;  // of each open bracket: has it a value already
  bool after_key_ = false;
};

// `text` between quotes, escaped.
std::string Quote(std::string_view text);

}  // namespace fusiontree::report

#endif  // FUSIONTREE_REPORT_JSON_H_
