#include "cli/interrupt.h"

namespace fusiontree::cli {
namespace {

volatile sig_atomic_t g_requested = 0;  // written by the handler

void Handle(int) { g_requested = 1; }

}  // namespace

InterruptScope::InterruptScope(bool once, bool also_terminate) : also_terminate_(also_terminate) {
  g_requested = 0;
  struct sigaction action = {};
  action.sa_handler = Handle;
  sigemptyset(&action.sa_mask);
  action.sa_flags = once ? static_cast<int>(SA_RESETHAND) : 0;
  sigaction(SIGINT, &action, &saved_interrupt_);
  if (also_terminate_) sigaction(SIGTERM, &action, &saved_terminate_);
}

InterruptScope::~InterruptScope() {
  sigaction(SIGINT, &saved_interrupt_, nullptr);
  if (also_terminate_) sigaction(SIGTERM, &saved_terminate_, nullptr);
}

bool InterruptScope::requested() { return g_requested != 0; }
void InterruptScope::Clear() { g_requested = 0; }

}  // namespace fusiontree::cli
