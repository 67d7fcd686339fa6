// What a rank reads and holds, measured from outside: /proc of each rank's process, once a model of some
// hundred MB is loaded and has said a token.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <sstream>
#include <thread>

#include "mpirun.h"
#include "tiny_model.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FUSIONTREE_SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FUSIONTREE_SANITIZED
#endif

namespace fusiontree {
namespace {

namespace fs = std::filesystem;

constexpr ModelShape kShape{
    .hidden = 1024, .mlp = 4096, .heads = 16, .kv_heads = 4, .layers = 4, .vocabulary = 4 * 4096};

// The number behind "name:" in a file of /proc.
double Value(pid_t process, const char* file, const std::string& name) {
  std::istringstream text(Slurp(fs::path("/proc") / std::to_string(process) / file));
  for (std::string word; text >> word;) {
    double value = 0;
    if (word == name + ":" && text >> value) return value;
  }
  return -1;
}

TEST_F(Mpirun, ARankReadsAndHoldsItsShare) {
  WriteTinyModel((folder_ / "model").string(), true, true, kShape);
  const double norms = 4.0 * kShape.hidden * (2 * kShape.layers + 1);  // fp32, held by all
  const double sharded = static_cast<double>(fs::file_size(folder_ / "model" / "model.safetensors")) - norms;
  for (const int ranks : {2, 4}) {
    const double share = sharded / ranks + norms;
    Start(ranks, "chat @model -n 1");
    std::fputs("hi\n", input());
    std::fflush(input());
    for (int i = 0; i < 600 && fs::file_size(folder_ / "stdout") == 0; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_GT(fs::file_size(folder_ / "stdout"), 0u) << "no answer";
    for (int rank = 0; rank < ranks; ++rank) {
      const pid_t process = Process("fusiontree", rank);
      ASSERT_GT(process, 0) << rank;
      const double read = Value(process, "io", "rchar"), peak = 1024 * Value(process, "status", "VmHWM");
      EXPECT_GE(read, 0.9 * share) << "rank " << rank << " of " << ranks;
      EXPECT_LE(read, 1.1 * share) << "rank " << rank << " of " << ranks;
#ifndef FUSIONTREE_SANITIZED
      EXPECT_LE(peak, share + (64 << 20)) << "rank " << rank << " of " << ranks;
#endif
      RecordProperty("rank_" + std::to_string(rank) + "_of_" + std::to_string(ranks),
                     std::to_string(std::lround(share / 1e6)) + " MB share, read " +
                         std::to_string(std::lround(read / 1e6)) + ", peak " +
                         std::to_string(std::lround(peak / 1e6)));
    }
    const Outcome o = Finish();
    EXPECT_EQ(o.code, 0) << o.err;
  }
}

}  // namespace
}  // namespace fusiontree
