// Progress of long work on stderr: one line redrawn in place on a terminal, plain lines elsewhere (at each
// quarter, and only for work that takes longer than two seconds).
#ifndef FUSIONTREE_BASE_PROGRESS_H_
#define FUSIONTREE_BASE_PROGRESS_H_

#include <chrono>
#include <string>

namespace fusiontree::base {

// One line of progress: "loading  [########........]  52%  1.2 s". The text alone, for any sink.
std::string ProgressLine(const std::string& label, double fraction, double seconds, int bar_width);

// Used by one thread. Finish (or the destructor) takes the line off a terminal.
class Progress {
 public:
  explicit Progress(std::string label);
  Progress(std::string label, bool terminal);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Update(double fraction);  // 0..1
  void Finish();

 private:
  using Clock = std::chrono::steady_clock;
  std::string label_;
  bool terminal_;
  bool drawn_ = false;
  int quarters_ = 0;  // plain lines printed so far
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_{};
};

}  // namespace fusiontree::base

#endif  // FUSIONTREE_BASE_PROGRESS_H_
