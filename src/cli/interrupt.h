// Ctrl-C as a flag: the first one asks the work to stop and keeps what is there, a second one ends the
// process.
#ifndef FUSIONTREE_CLI_INTERRUPT_H_
#define FUSIONTREE_CLI_INTERRUPT_H_

#include <signal.h>

namespace fusiontree::cli {

// While one lives, SIGINT sets the flag, and with `also_terminate` SIGTERM too, which is how batch systems
// and mpirun ask. One at a time, on the main thread. Reads that wait are not restarted.
class InterruptScope {
 public:
  // With `once`, a second signal while the flag is set does what the system does by default: it ends the
  // process.
  explicit InterruptScope(bool once = true, bool also_terminate = false);
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

  static bool requested();
  static void Clear();

 private:
  struct sigaction saved_interrupt_ = {}, saved_terminate_ = {};
  bool also_terminate_;
};

}  // namespace fusiontree::cli

#endif  // FUSIONTREE_CLI_INTERRUPT_H_
