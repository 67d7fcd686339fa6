#include "engine/ranks.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/hash.h"
#include "kernels/variants.h"
#include "models/distributed.h"
#include "parallel/record.h"

namespace fusiontree::engine {
namespace {

using base::Hash;
using parallel::Communicator;
using parallel::RecordKind;

// Every rank's value.
template <typename T>
std::vector<T> Gather(Communicator& communicator, const T& mine) {
  std::vector<T> all(static_cast<size_t>(communicator.size()));
  communicator.AllGather(&mine, sizeof(T), all.data());
  return all;
}

// An error that names the first rank whose value is not rank 0's; `what` is a sentence about that rank.
base::Status Same(Communicator& communicator, uint64_t mine, const std::string& what) {
  const std::vector<uint64_t> all = Gather(communicator, mine);
  FT_RETURN_IF_ERROR(communicator.status());
  for (size_t rank = 1; rank < all.size(); ++rank)
    if (all[rank] != all[0]) return base::BadInput("rank {} {}", rank, what);
  return base::OkStatus();
}

// Sizes, names and types of all tensors and some of their bytes: other files differ, and nothing is read
// whole.
base::Result<uint64_t> Digest(const checkpoint::Checkpoint& checkpoint) {
  uint64_t hash = Hash(checkpoint.format() == checkpoint::Checkpoint::Format::kGguf ? "gguf" : "folder");
  for (const checkpoint::TensorInfo& tensor : checkpoint.tensors()) {
    hash =
        Hash(fmt::format("{} {} {}", tensor.name, tensor.ShapeString(), static_cast<int>(tensor.type)), hash);
    std::array<char, 64> sample{};
    const uint64_t size = std::min<uint64_t>(sample.size(), tensor.bytes);
    for (const uint64_t at : {uint64_t{0}, (tensor.bytes - size) / 2, tensor.bytes - size}) {
      FT_RETURN_IF_ERROR(checkpoint.Read(tensor, at, size, sample.data()));
      hash = Hash(sample.data(), size, hash);
    }
  }
  for (const auto& [key, value] : checkpoint.metadata().values()) {
    hash = Hash(key, hash);
    if (const int64_t* number = std::get_if<int64_t>(&value)) hash = Hash(number, sizeof(*number), hash);
    if (const double* number = std::get_if<double>(&value)) hash = Hash(number, sizeof(*number), hash);
    if (const std::string* text = std::get_if<std::string>(&value)) hash = Hash(*text, hash);
  }
  if (checkpoint.format() != checkpoint::Checkpoint::Format::kGguf) {
    FT_ASSIGN_OR_RETURN(const std::optional<std::string> config, checkpoint.ReadText("config.json"));
    hash = Hash(config.value_or(""), hash);
  }
  return hash;
}

// The variant that all ranks run.
base::Result<const kernels::Table*> AgreeOnTable(Communicator& communicator, const std::string& isa) {
  uint64_t mine = 0;
  const auto variants = kernels::Variants();
  for (size_t i = 0; i < variants.size(); ++i) mine |= uint64_t{variants[i].table != nullptr} << i;
  uint64_t common = ~uint64_t{0};
  for (const uint64_t has : Gather(communicator, mine)) common &= has;
  FT_RETURN_IF_ERROR(communicator.status());
  if (isa == "auto") {
    for (size_t i = variants.size(); i-- > 0;)
      if (common >> i & 1) return variants[i].table;
  }
  const base::Result<const kernels::Table*> table = ChooseTable(isa);
  FT_RETURN_IF_ERROR(Agree(communicator, table.status()));
  return table;
}

struct LoadRecord {
  int64_t threads;
  uint64_t pin;
};

// The machine and the processors of it that this process may use. Ranks that mpirun bound to processors of
// their own share them with nobody.
uint64_t OwnProcessors() {
  std::array<char, 256> name{};
  gethostname(name.data(), name.size() - 1);
  const std::vector<int>& processors = base::ThreadPool::Processors();
  return Hash(processors.data(), processors.size() * sizeof(int), Hash(name.data(), name.size()));
}

// The first of the processors that this rank's threads are pinned to: after those of the lower ranks that may
// use the same ones.
base::Result<int> FirstPinned(Communicator& communicator, int threads) {
  struct Share {
    uint64_t processors;
    int64_t threads;
  };
  const Share mine{OwnProcessors(), threads};
  const std::vector<Share> all = Gather(communicator, mine);
  int64_t first = 0, wanted = 0;
  for (size_t rank = 0; rank < all.size(); ++rank) {
    if (all[rank].processors != mine.processors) continue;
    if (static_cast<int>(rank) < communicator.rank()) first += all[rank].threads;
    wanted += all[rank].threads;
  }
  const int processors = base::ThreadPool::AvailableProcessors();
  if (wanted > processors)
    return base::BadInput(
        "--pin needs a processor for each thread of each rank: there are {} threads in all on {} processors",
        wanted, processors);
  return static_cast<int>(first);
}

}  // namespace

int SharedThreads(Communicator& communicator) {
  const uint64_t mine = OwnProcessors();
  int sharing = 0;
  for (const uint64_t set : Gather(communicator, mine)) sharing += set == mine;
  return std::max(1, base::ThreadPool::AvailableProcessors() / std::max(1, sharing));
}

void UseThreadsOnAllRanks(Communicator& communicator, int threads) {
  parallel::RecordWriter record;
  record.Put<int64_t>(threads);
  parallel::Send(communicator, RecordKind::kThreads, record);
}

base::Status RunOnAllRanks(Communicator& communicator, const RankTasks& tasks, const std::string& name,
                           int64_t argument) {
  parallel::RecordWriter record;
  record.PutText(name);
  record.Put(argument);
  parallel::Send(communicator, RecordKind::kTask, record);
  return tasks.at(name)(communicator, argument);
}

base::Status AgreeOnProgram(Communicator& communicator, const std::vector<std::string>& arguments) {
  const std::string build =
      fmt::format("{} {} {}", base::kProgramVersion, base::kNumericsVersion, sizeof(LoadRecord));
  FT_RETURN_IF_ERROR(Same(communicator, Hash(build), "runs another version of this program than rank 0"));
  uint64_t line = arguments.size();
  for (const std::string& argument : arguments) line = Hash(argument + '\n', line);
  return Same(communicator, line, "was started with other arguments than rank 0");
}

base::Result<std::unique_ptr<Runtime>> LoadShard(const std::string& model_path,
                                                 const EngineOptions& options) {
  Communicator& communicator = *options.communicator;
  const auto agree = [&](const base::Status& status) { return Agree(communicator, status); };
  auto runtime = std::make_unique<Runtime>();
  FT_ASSIGN_OR_RETURN(const kernels::Table* table, AgreeOnTable(communicator, options.isa));
  base::Result<models::ModelOptions> types = ChooseTypes(options.dtype, options.kv);
  FT_RETURN_IF_ERROR(agree(types.status()));
  const int share = SharedThreads(communicator);
  const base::Result<int> threads = ChooseThreads(options.threads == 0 ? share : options.threads);
  FT_RETURN_IF_ERROR(agree(threads.status()));
  base::Result<int> first = 0;
  if (options.pin) first = FirstPinned(communicator, *threads);
  FT_RETURN_IF_ERROR(agree(first.status()));
  base::Result<checkpoint::Checkpoint> opened = checkpoint::Checkpoint::Open(model_path);
  FT_RETURN_IF_ERROR(agree(opened.status()));
  runtime->checkpoint.emplace(std::move(*opened));
  const base::Result<uint64_t> digest = Digest(*runtime->checkpoint);
  FT_RETURN_IF_ERROR(agree(digest.status()));
  FT_RETURN_IF_ERROR(
      Same(communicator, *digest, fmt::format("finds another checkpoint than rank 0 at {}", model_path)));
  runtime->pool = std::make_unique<base::ThreadPool>(*threads, options.pin, *first);
  runtime->context = std::make_unique<ops::Context>(runtime->pool.get(), table, &communicator);
  types->progress = options.progress;
  base::Result<std::unique_ptr<models::Model>> model =
      models::LoadModel(*runtime->checkpoint, *types, *runtime->context);
  FT_RETURN_IF_ERROR(agree(model.status()));
  runtime->model = std::move(*model);
  runtime->policy = PolicyOf(*table, *runtime->model);
  FT_RETURN_IF_ERROR(
      Same(communicator, Hash(runtime->policy.Text()), "has another numerics policy than rank 0"));
  const auto sum = [&](size_t mine) {
    size_t all = 0;
    for (const size_t bytes : Gather(communicator, mine)) all += bytes;
    return all;
  };
  const size_t weights = sum(runtime->model->weight_bytes()),
               streamed = sum(runtime->model->streamed_bytes());
  FT_RETURN_IF_ERROR(communicator.status());
  if (communicator.rank() == 0)
    runtime->model = models::MakeDistributed(std::move(runtime->model), weights, streamed, *runtime->context);
  return runtime;
}

namespace {

base::Status RunTask(Communicator& communicator, const RankTasks& tasks, const parallel::Record& received) {
  if (received.kind == RecordKind::kTask) {
    parallel::RecordReader record(received.payload);
    const std::string name = record.TakeText();
    const int64_t argument = record.Take<int64_t>();
    FT_RETURN_IF_ERROR(record.Done());
    const auto task = tasks.find(name);
    if (task != tasks.end()) return task->second(communicator, argument);
  }
  return base::Failed("rank 0 sent a record of kind {} that this rank does not expect now",
                      static_cast<int>(received.kind));
}

base::Status UseThreads(Runtime& runtime, const parallel::Record& received) {
  parallel::RecordReader record(received.payload);
  const int64_t asked = record.Take<int64_t>();
  FT_RETURN_IF_ERROR(record.Done());
  FT_ASSIGN_OR_RETURN(const int threads, ChooseThreads(static_cast<int>(asked)));
  auto pool = std::make_unique<base::ThreadPool>(threads);
  runtime.context->UsePool(pool.get());
  runtime.pool = std::move(pool);
  return base::OkStatus();
}

base::Status LoadAndFollow(Communicator& communicator, const RankTasks& tasks,
                           const parallel::Record& received) {
  parallel::RecordReader record(received.payload);
  EngineOptions options;
  options.communicator = &communicator;
  const std::string path = record.TakeText();
  options.dtype = record.TakeText();
  options.kv = record.TakeText();
  options.isa = record.TakeText();
  const LoadRecord own = record.Take<LoadRecord>();
  options.threads = static_cast<int>(own.threads);
  options.pin = own.pin != 0;
  FT_RETURN_IF_ERROR(record.Done());
  const base::Result<std::unique_ptr<Runtime>> loaded = LoadShard(path, options);
  if (!loaded.ok()) return base::OkStatus();  // all ranks have the error, and rank 0 tells it
  Runtime& runtime = **loaded;
  return models::FollowModel(*runtime.model, *runtime.context, [&](const parallel::Record& other) {
    return other.kind == RecordKind::kThreads ? UseThreads(runtime, other)
                                              : RunTask(communicator, tasks, other);
  });
}

}  // namespace

base::Status Follow(Communicator& communicator, const RankTasks& tasks) {
  for (;;) {
    FT_ASSIGN_OR_RETURN(const parallel::Record record, parallel::Receive(communicator));
    if (record.kind == RecordKind::kEnd) return base::OkStatus();
    const base::Status status = record.kind == RecordKind::kLoad ? LoadAndFollow(communicator, tasks, record)
                                                                 : RunTask(communicator, tasks, record);
    if (!communicator.status().ok()) return communicator.status();
    if (!status.ok()) communicator.Fail(status.WithContext(fmt::format("rank {}", communicator.rank())));
    FT_RETURN_IF_ERROR(communicator.status());
  }
}

void EndRanks(Communicator& communicator) {
  parallel::Send(communicator, RecordKind::kEnd, parallel::RecordWriter());
}

base::Result<std::unique_ptr<Runtime>> LoadOnAllRanks(const std::string& model_path,
                                                      const EngineOptions& options) {
  parallel::RecordWriter record;
  record.PutText(model_path);
  record.PutText(options.dtype);
  record.PutText(options.kv);
  record.PutText(options.isa);
  record.Put(LoadRecord{options.threads, options.pin});
  parallel::Send(*options.communicator, RecordKind::kLoad, record);
  return LoadShard(model_path, options);
}

}  // namespace fusiontree::engine
