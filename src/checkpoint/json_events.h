// A strict JSON parse as events, for headers that come from outside. Includes nlohmann/json.hpp: for .cc
// files only.
#ifndef FUSIONTREE_CHECKPOINT_JSON_EVENTS_H_
#define FUSIONTREE_CHECKPOINT_JSON_EVENTS_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/status.h"

namespace fusiontree::checkpoint {

// Turns every parse event into one call of Value, Open, Close or Key of the handler, which return false to
// stop with status(). The parser keeps its own stack on the heap, so depth costs nothing before a handler
// refuses it.
class JsonEvents : public nlohmann::json::json_sax_t {
 public:
  const base::Status& status() const { return status_; }

 protected:
  enum class Kind { kNull, kBoolean, kUnsigned, kNegative, kFraction, kString };
  struct Scalar {
    Kind kind;
    uint64_t number = 0;          // kUnsigned
    std::string* text = nullptr;  // kString
  };
  static std::string_view Name(Kind kind) {
    switch (kind) {
      case Kind::kNull:
        return "null";
      case Kind::kBoolean:
        return "a boolean";
      case Kind::kUnsigned:
        return "a number";
      case Kind::kNegative:
        return "a negative number";
      case Kind::kFraction:
        return "a fraction or a number beyond 64 bits";
      case Kind::kString:
        return "a string";
    }
    return "";
  }

  virtual bool Value(const Scalar& value) = 0;
  virtual bool Open(bool is_object) = 0;
  virtual bool Close() = 0;
  virtual bool Key(std::string& key) = 0;

  bool Stop(base::Status error) {
    status_ = std::move(error);
    return false;
  }

 private:
  bool null() final { return Value({Kind::kNull}); }
  bool boolean(bool) final { return Value({Kind::kBoolean}); }
  bool number_integer(number_integer_t value) final {
    return value < 0 ? Value({Kind::kNegative}) : Value({Kind::kUnsigned, static_cast<uint64_t>(value)});
  }
  bool number_unsigned(number_unsigned_t value) final { return Value({Kind::kUnsigned, value}); }
  bool number_float(number_float_t, const string_t&) final { return Value({Kind::kFraction}); }
  bool string(string_t& value) final { return Value({Kind::kString, 0, &value}); }
  bool binary(binary_t&) final { return false; }
  bool start_object(std::size_t) final { return Open(true); }
  bool end_object() final { return Close(); }
  bool start_array(std::size_t) final { return Open(false); }
  bool end_array() final { return Close(); }
  bool key(string_t& value) final { return Key(value); }
  bool parse_error(std::size_t position, const std::string& token, const nlohmann::json::exception&) final {
    return Stop(base::BadInput("it is not valid JSON at byte {}, near {}", position, base::Quote(token)));
  }

  base::Status status_;
};

// Parses all of `text`, which must be one object and pass base::CheckJsonText. Errors begin with "it".
base::Status ParseJson(std::string_view text, JsonEvents* events);

}  // namespace fusiontree::checkpoint

#endif  // FUSIONTREE_CHECKPOINT_JSON_EVENTS_H_
