// Cuts a stream of text before the first stop string, and never lets out what may yet turn out to be the
// beginning of one. What comes out does not depend on how the text was cut into pieces.
#ifndef FUSIONTREE_ENGINE_STOP_STRINGS_H_
#define FUSIONTREE_ENGINE_STOP_STRINGS_H_

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace fusiontree::engine {

class StopStrings {
 public:
  // Most bytes of all stop strings together: each byte of text is compared with the end of every one.
  static constexpr size_t kMaxBytes = 4096;

  // Refuses an empty string and too many bytes.
  static base::Status Check(const std::vector<std::string>& stops);
  // `stops` passed Check.
  explicit StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  // Takes the next piece and returns what is certain by now. The stop string that is complete first wins (of
  // two that are complete at the same byte, the longer); it and what follows are dropped, and found() is true
  // from then on.
  std::string Push(std::string_view piece);
  // The text ends here: what was held back.
  std::string Finish();
  bool found() const { return found_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool found_ = false;
};

}  // namespace fusiontree::engine

#endif  // FUSIONTREE_ENGINE_STOP_STRINGS_H_
