#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenizer/pattern.h"

#include <pcre2.h>

#include <cstdint>

#include "base/utf8.h"

namespace fusiontree::tokenizer {
namespace {

// Real patterns are a few hundred bytes.
constexpr size_t kMaxPatternBytes = 16384;
// Backtracking steps of one match: a run of ten million spaces needs about one each; a catastrophic pattern
// meets the limit within a second or two.
constexpr uint32_t kMatchLimit = 30'000'000;
constexpr uint32_t kHeapLimitKib = 64 * 1024;
constexpr size_t kJitStackStart = 32 * 1024;
constexpr size_t kJitStackMax = 1024 * 1024;

// What a thread needs to run a match: made once a thread, for all patterns (only the whole match is asked
// for).
struct MatchSpace {
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(kJitStackStart, kJitStackMax, nullptr);
  MatchSpace() {
    FT_CHECK(context != nullptr && data != nullptr);
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_heap_limit(context, kHeapLimitKib);
    if (stack != nullptr) pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~MatchSpace() {
    if (stack != nullptr) pcre2_jit_stack_free(stack);
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
  }
  MatchSpace(const MatchSpace&) = delete;
  MatchSpace& operator=(const MatchSpace&) = delete;
};

MatchSpace& ThreadSpace() {
  thread_local MatchSpace space;
  return space;
}

std::string ErrorText(int code) {
  PCRE2_UCHAR buffer[256];
  const int length = pcre2_get_error_message(code, buffer, sizeof(buffer));
  return length > 0 ? std::string(reinterpret_cast<const char*>(buffer), length) : "unknown error";
}

}  // namespace

struct Pattern::Code {
  pcre2_code* code = nullptr;
  bool jit = false;
  std::string source;
  Code() = default;
  ~Code() { pcre2_code_free(code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
};

base::Result<Pattern> Pattern::Compile(std::string_view oniguruma) {
  if (oniguruma.size() > kMaxPatternBytes)
    return base::BadInput("a pattern of {} bytes is longer than the {} allowed", oniguruma.size(),
                          kMaxPatternBytes);
  FT_RETURN_IF_ERROR(base::CheckUtf8(oniguruma, "a pattern"));
  FT_ASSIGN_OR_RETURN(const std::string translated, TranslateOniguruma(oniguruma));

  auto code = std::make_shared<Code>();
  code->source = oniguruma;
  int error = 0;
  size_t offset = 0;
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  FT_CHECK(context != nullptr);
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context, 64);
  // Ruby's ^ and $ always mean lines.
  const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_MULTILINE;
  code->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(), options,
                             &error, &offset, context);
  pcre2_compile_context_free(context);
  if (code->code == nullptr)
    return base::BadInput("the pattern \"{}\" does not compile: {}", oniguruma, ErrorText(error));
  code->jit = pcre2_jit_compile(code->code, PCRE2_JIT_COMPLETE) == 0;
  return Pattern(std::move(code));
}

base::Result<Pattern> Pattern::Literal(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    // Only ASCII punctuation may follow a backslash as itself; everything else is literal already.
    if (std::string_view("\\^$.[]|()?*+{}-&#~ ").find(c) != std::string_view::npos) escaped += '\\';
    escaped += c;
  }
  return Compile(escaped);
}

base::Status Pattern::Find(std::string_view text, Cursor* cursor) const {
  MatchSpace& space = ThreadSpace();
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  cursor->found = false;
  while (cursor->from <= text.size()) {
    int got = PCRE2_ERROR_JIT_STACKLIMIT;
    if (code_->jit && space.stack != nullptr)
      got = pcre2_jit_match(code_->code, subject, text.size(), cursor->from, PCRE2_NO_UTF_CHECK, space.data,
                            space.context);
    if (got == PCRE2_ERROR_JIT_STACKLIMIT)
      got = pcre2_match(code_->code, subject, text.size(), cursor->from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                        space.data, space.context);
    if (got == PCRE2_ERROR_NOMATCH) return base::OkStatus();
    if (got < 0)
      return base::BadInput("the pattern \"{}\" gave up on a text of {} bytes at offset {}: {}",
                            code_->source, text.size(), cursor->from, ErrorText(got));
    const size_t* ends = pcre2_get_ovector_pointer(space.data);
    const size_t begin = ends[0];
    const size_t end = ends[1];
    FT_CHECK(begin <= end && begin >= cursor->from);
    if (begin == end && cursor->any_before && cursor->end == end) {
      // An empty match that touches the one before is none: look one character further.
      cursor->from += cursor->from < text.size() ? base::Utf8Length(text[cursor->from]) : 1;
      continue;
    }
    cursor->begin = begin;
    cursor->end = end;
    cursor->from = end;
    cursor->any_before = true;
    cursor->found = true;
    return base::OkStatus();
  }
  return base::OkStatus();
}

}  // namespace fusiontree::tokenizer
