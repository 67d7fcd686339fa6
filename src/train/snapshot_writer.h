// Writes checkpoints beside the steps that follow them: one at a time, on a thread of its own.
#ifndef FUSIONTREE_TRAIN_SNAPSHOT_WRITER_H_
#define FUSIONTREE_TRAIN_SNAPSHOT_WRITER_H_

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "models/trainable.h"
#include "train/optimizer.h"
#include "train/snapshot.h"

namespace fusiontree::train {

// Used by one thread, of rank 0. From the first save on it holds a copy of what a checkpoint holds, 12 bytes
// a parameter.
class SnapshotWriter {
 public:
  // Both outlive it.
  SnapshotWriter(const Layout* layout, const std::vector<models::Parameter>* parameters, bool bf16)
      : layout_(*layout), parameters_(*parameters), bf16_(bf16) {}
  ~SnapshotWriter();  // waits
  SnapshotWriter(const SnapshotWriter&) = delete;
  SnapshotWriter& operator=(const SnapshotWriter&) = delete;

  // Where the caller puts the next save's values, [layout.size()] each, between Wait and Start.
  struct Values {
    float *master, *first, *second;
  };
  Values Prepare();

  struct Job {
    std::string run;
    int64_t keep = 1;
    SnapshotState state;
    SnapshotFiles files;
  };
  // Begins to write what Prepare's values are by now, and then takes away what need not be kept.
  void Start(Job job);

  // What the saves that ended so far ran into; the first error stays. Never waits.
  base::Status Poll();
  // The same, once the save in flight has ended.
  base::Status Wait();

 private:
  base::Status Write(const Job& job) const;

  const Layout& layout_;
  const std::vector<models::Parameter>& parameters_;
  const bool bf16_;
  std::vector<float> master_, first_, second_;
  std::thread thread_;
  std::atomic<bool> ended_{true};
  base::Status status_;  // the thread's while one runs
};

}  // namespace fusiontree::train

#endif  // FUSIONTREE_TRAIN_SNAPSHOT_WRITER_H_
