#include "parallel/mpi_process.h"

#include <fmt/core.h>
#include <mpi.h>
#include <sched.h>
#include <unistd.h>

#include <chrono>
#include <thread>
#include <utility>
#include <vector>

namespace fusiontree::parallel {
namespace {

base::Status Checked(int code, const char* call) {
  if (code == MPI_SUCCESS) return base::OkStatus();
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(code, text, &length);
  return base::Failed("MPI: {} failed: {}", call, text);
}

[[noreturn]] void EndJob() {
  MPI_Abort(MPI_COMM_WORLD, 1);
  _exit(1);
}

// Where the first rank of a machine put the memory for all of its ranks.
struct Offer {
  int64_t process = 0;
  int32_t file = -1;
};

}  // namespace

base::Result<std::unique_ptr<MpiProcess>> MpiProcess::Join(const MpiOptions& options) {
  int started = 0, level = 0;
  MPI_Initialized(&started);
  if (started != 0) return base::Failed("MPI: this process has joined its ranks before");
  // Several threads: the watchdog may have to end the job while the program waits in MPI.
  FT_RETURN_IF_ERROR(
      Checked(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &level), "MPI_Init_thread"));
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  std::unique_ptr<MpiProcess> process(new MpiProcess());
  MPI_Comm_rank(MPI_COMM_WORLD, &process->rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &process->size_);
  FT_RETURN_IF_ERROR(process->MeetNeighbours(options));
  return process;
}

// Everything that can fail for one rank alone is asked of all, so that all decide the same.
base::Status MpiProcess::MeetNeighbours(const MpiOptions& options) {
  MPI_Comm machine;
  FT_RETURN_IF_ERROR(
      Checked(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &machine),
              "MPI_Comm_split_type"));
  int seat = 0;
  MPI_Comm_rank(machine, &seat);
  MPI_Comm_size(machine, &region_.size);
  if (region_.size == size_ && !options.messages) region_.window_bytes = kMostWindowBytes;

  // mpirun may bind each rank to a processor of its own: what counts is all that they have together.
  cpu_set_t own, all;
  CPU_ZERO(&own);
  CPU_ZERO(&all);
  sched_getaffinity(0, sizeof(own), &own);
  std::vector<cpu_set_t> sets(static_cast<size_t>(region_.size));
  FT_RETURN_IF_ERROR(
      Checked(MPI_Allgather(&own, sizeof(own), MPI_BYTE, sets.data(), sizeof(own), MPI_BYTE, machine),
              "MPI_Allgather"));
  for (const cpu_set_t& set : sets) CPU_OR(&all, &all, &set);
  spin_ = region_.size <= CPU_COUNT(&all);

  base::Result<Mapping> memory = base::Failed("not made");
  Offer offer;
  if (seat == 0) {
    memory = Mapping::CreateShared(region_.Bytes());
    if (memory.ok()) {
      region_.memory = memory->data();
      region_.Construct();
      offer = {getpid(), memory->file()};
    }
  }
  FT_RETURN_IF_ERROR(Checked(MPI_Bcast(&offer, sizeof(offer), MPI_BYTE, 0, machine), "MPI_Bcast"));
  if (seat != 0 && offer.file >= 0) memory = Mapping::OpenShared(offer.process, offer.file, region_.Bytes());
  if (memory.ok()) {
    region_.memory = memory->data();
    region_.seat(seat).rank = rank_;
    region_.seat(seat).process = getpid();
  }
  const char mapped = memory.ok() ? 1 : 0;
  std::vector<char> all_mapped(static_cast<size_t>(size_));
  FT_RETURN_IF_ERROR(Checked(
      MPI_Allgather(&mapped, 1, MPI_BYTE, all_mapped.data(), 1, MPI_BYTE, MPI_COMM_WORLD), "MPI_Allgather"));
  MPI_Comm_free(&machine);
  for (const char one : all_mapped) {
    if (one != 0) continue;
    region_ = Region{};  // messages then, and nobody watches but mpirun
    return base::OkStatus();
  }
  memory_ = std::move(memory).value();
  memory_.CloseFile();
  watchdog_ = std::make_unique<Watchdog>(region_, seat, EndJob);
  seat_ = seat;
  return base::OkStatus();
}

MpiProcess::~MpiProcess() {
  if (watchdog_ != nullptr) {
    region_.seat(seat_).left.store(1, std::memory_order_release);
    const auto all_left = [this] {
      for (int i = 0; i < region_.size; ++i)
        if (region_.seat(i).left.load(std::memory_order_acquire) == 0) return false;
      return true;
    };
    while (region_.board().failed() && !all_left()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    watchdog_.reset();
  }
  MPI_Finalize();
}

void MpiProcess::FailAll(const std::string& sentence) const {
  // What every rank of a machine finds wrong, the first of them says.
  if (watchdog_ == nullptr || region_.board().Announce()) {
    const std::string line = fmt::format("fusiontree: rank {}: {}\n", rank_, sentence);
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  } else {
    std::this_thread::sleep_for(std::chrono::seconds(2));  // for the first to end the job
  }
  EndJob();
}

}  // namespace fusiontree::parallel
