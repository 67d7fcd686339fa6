#include "train/snapshot_writer.h"

#include <signal.h>

#include <utility>

#include "base/check.h"
#include "train/snapshot_folder.h"

namespace fusiontree::train {

SnapshotWriter::~SnapshotWriter() {
  if (thread_.joinable()) thread_.join();
}

SnapshotWriter::Values SnapshotWriter::Prepare() {
  FT_CHECK(!thread_.joinable());
  for (std::vector<float>* values : {&master_, &first_, &second_})
    values->resize(static_cast<size_t>(layout_.size()));
  return {master_.data(), first_.data(), second_.data()};
}

void SnapshotWriter::Start(Job job) {
  FT_CHECK(!thread_.joinable() && ended_);
  ended_ = false;
  // Ctrl-C is the main thread's; here it would only interrupt the writing.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this, job = std::move(job)] {
    const base::Status written = Write(job);
    if (status_.ok()) status_ = written;
    ended_ = true;
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

base::Status SnapshotWriter::Write(const Job& job) const {
  FT_RETURN_IF_ERROR(WriteSnapshot(SnapshotPath(job.run, job.state.step), job.state, job.files, layout_,
                                   parameters_, bf16_, {master_.data(), first_.data(), second_.data()}));
  KeepSnapshots(job.run, job.keep);
  return base::OkStatus();
}

base::Status SnapshotWriter::Poll() { return ended_ ? Wait() : base::OkStatus(); }

base::Status SnapshotWriter::Wait() {
  if (thread_.joinable()) thread_.join();
  return status_;
}

}  // namespace fusiontree::train
