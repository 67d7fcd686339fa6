// TensorBoard event files. The three messages in them are written by hand: protobuf would bring a compiler, a
// library and seconds of headers for what is eighty lines here.
#ifndef FUSIONTREE_REPORT_TENSORBOARD_H_
#define FUSIONTREE_REPORT_TENSORBOARD_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace fusiontree::report {

// Counts of values between edges: bin i holds those in (edges[i], edges[i + 1]].
struct Histogram {
  std::vector<double> edges;   // [bins + 1] ascending
  std::vector<double> counts;  // [bins]
  double sum = 0, sum_of_squares = 0;
};

// Equal bins over `low` to `high`; the sums are those of `counts` values of this mean and standard deviation.
Histogram EqualBins(const std::vector<double>& counts, double low, double high, double mean,
                    double deviation);

// One writer of one file; used by one thread. What Flush has returned for is in the file, whatever kills the
// process then.
class EventFile {
 public:
  // "<folder>/events.out.tfevents.<seconds>.<host>", by which TensorBoard knows it; never an existing file:
  // of two in one second the later one ends in ".1". `folder` must exist. A run that goes on after a restart
  // passes its first step, and TensorBoard forgets what earlier files in the folder say of this step and
  // later ones.
  static base::Result<EventFile> Create(const std::string& folder, int64_t seconds, const std::string& host,
                                        std::optional<int64_t> restarted_at = std::nullopt);
  EventFile(EventFile&& other) noexcept;
  EventFile& operator=(EventFile&& other) noexcept;
  ~EventFile();  // flushes; an error is lost

  // `time` is in seconds since 1970. All scalars of a step between two flushes are one event.
  void AddScalar(std::string_view tag, int64_t step, double time, double value);
  void AddHistogram(std::string_view tag, int64_t step, double time, const Histogram& histogram);
  // On an error (a full disk) the file ends with its last whole record, and the next call tries again.
  base::Status Flush();

  const std::string& path() const { return path_; }

 private:
  EventFile() = default;
  void Add(int64_t step, double time, std::string_view summary_value);
  void CloseEvent();

  std::string path_;
  int descriptor_ = -1;
  std::string pending_;  // whole records
  std::string summary_;  // values of the event that is open
  int64_t step_ = 0;
  double time_ = 0;
};

// A record of an event file: length, masked CRC-32C of the length, bytes, masked CRC-32C of the bytes.
std::string TfRecord(std::string_view bytes);
uint32_t Crc32c(std::string_view bytes);
uint32_t MaskedCrc32c(std::string_view bytes);

}  // namespace fusiontree::report

#endif  // FUSIONTREE_REPORT_TENSORBOARD_H_
