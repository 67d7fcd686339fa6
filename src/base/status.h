// Errors as values. A function that can meet bad input returns Status or Result<T>; the message is one
// sentence that says what, where, expected and got. A broken invariant of our own is FT_CHECK (base/check.h).
#ifndef FUSIONTREE_BASE_STATUS_H_
#define FUSIONTREE_BASE_STATUS_H_

#include <fmt/core.h>

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/check.h"

namespace fusiontree::base {

enum class ErrorKind {
  kBadInput,   // the caller's file, option or text is wrong: exit code 2
  kFailed,     // ran, and found a difference or could not finish: exit code 1
  kCancelled,  // the user asked to stop
};

class [[nodiscard]] Status {
 public:
  Status() = default;  // success
  Status(ErrorKind kind, std::string message) : error_(Error{kind, std::move(message)}) {}

  bool ok() const { return !error_.has_value(); }
  // Only when !ok().
  ErrorKind kind() const { return error_->kind; }
  const std::string& message() const { return error_->message; }
  // The same error with "context: " put before the message; success stays success.
  Status WithContext(const std::string& context) const {
    return ok() ? Status() : Status(kind(), context + ": " + message());
  }

 private:
  struct Error {
    ErrorKind kind;
    std::string message;
  };
  std::optional<Error> error_;
};

inline Status OkStatus() { return Status(); }

template <typename... Args>
Status BadInput(fmt::format_string<Args...> format, Args&&... args) {
  return Status(ErrorKind::kBadInput, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
Status Failed(fmt::format_string<Args...> format, Args&&... args) {
  return Status(ErrorKind::kFailed, fmt::format(format, std::forward<Args>(args)...));
}

// A value or the error that kept it from being made.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::in_place_index<0>, std::move(value)) {}      // NOLINT
  Result(Status error) : value_(std::in_place_index<1>, std::move(error)) {  // NOLINT
    FT_CHECK(!std::get<1>(value_).ok());
  }

  bool ok() const { return value_.index() == 0; }
  Status status() const { return ok() ? Status() : std::get<1>(value_); }
  T& value() & {
    FT_CHECK(ok());
    return std::get<0>(value_);
  }
  const T& value() const& {
    FT_CHECK(ok());
    return std::get<0>(value_);
  }
  T&& value() && {
    FT_CHECK(ok());
    return std::get<0>(std::move(value_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<T, Status> value_;
};

}  // namespace fusiontree::base

#define FT_CONCAT_INNER(a, b) a##b
#define FT_CONCAT(a, b) FT_CONCAT_INNER(a, b)

#define FT_RETURN_IF_ERROR(expression)                   \
  do {                                                   \
    ::fusiontree::base::Status ft_status = (expression); \
    if (!ft_status.ok()) return ft_status;               \
  } while (false)

// FT_ASSIGN_OR_RETURN(auto x, Make());
#define FT_ASSIGN_OR_RETURN(declaration, expression) \
  FT_ASSIGN_OR_RETURN_AS(FT_CONCAT(ft_result_, __LINE__), declaration, expression)
#define FT_ASSIGN_OR_RETURN_AS(result, declaration, expression) \
  auto result = (expression);                                   \
  if (!result.ok()) return result.status();                     \
  declaration = std::move(result).value()

#endif  // FUSIONTREE_BASE_STATUS_H_
