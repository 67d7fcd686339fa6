// Invariants of our own, checked in release builds too. Never for bad input: that is a Status.
#ifndef FUSIONTREE_BASE_CHECK_H_
#define FUSIONTREE_BASE_CHECK_H_

namespace fusiontree::base {

// Writes "file:line: check failed: condition" to stderr and aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);

}  // namespace fusiontree::base

#define FT_CHECK(condition)                                            \
  do {                                                                 \
    if (!(condition)) [[unlikely]]                                     \
      ::fusiontree::base::CheckFailed(__FILE__, __LINE__, #condition); \
  } while (false)

#endif  // FUSIONTREE_BASE_CHECK_H_
