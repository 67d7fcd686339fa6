// Progress of long work on stderr: one line redrawn in place on a terminal, plain lines elsewhere (at each
// quarter, and only for work that takes longer than two seconds). No colours.
#ifndef FUSIONTREE_BASE_PROGRESS_H_
#define FUSIONTREE_BASE_PROGRESS_H_

#include <chrono>
#include <string>

namespace fusiontree::base {

// One line of progress: "loading  [########........]  52%  1.2 s". The text alone, for any sink.
std::string ProgressLine(const std::string& label, double fraction, double seconds, int bar_width);
// The same with another end than the seconds: "training  [####....]  50%  loss 3.21".
std::string ProgressLine(const std::string& label, double fraction, const std::string& note, int bar_width);

// Whether stderr is a terminal on which a line can be redrawn (a "dumb" one is not).
bool StderrRedraws();

// Used by one thread. Finish (or the destructor) takes the line off a terminal.
class Progress {
 public:
  explicit Progress(std::string label);
  Progress(std::string label, bool terminal);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Update(double fraction);  // 0..1
  // With a note in place of the seconds; elsewhere than on a terminal the caller prints its own lines.
  void Update(double fraction, const std::string& note);
  void Finish();

 private:
  using Clock = std::chrono::steady_clock;
  bool Due(Clock::time_point now) const;  // on a terminal
  void Draw(double fraction, const std::string& note, Clock::time_point now);

  std::string label_;
  bool terminal_;
  bool drawn_ = false;
  int quarters_ = 0;  // plain lines printed so far
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_{};
};

}  // namespace fusiontree::base

#endif  // FUSIONTREE_BASE_PROGRESS_H_
