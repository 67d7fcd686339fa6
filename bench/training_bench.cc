// Forward and backward of one slot beside the fp32 FMA peak of the same run: tokens a second, and
// multiply-adds counted as three forwards; and the memory of the process at its highest.
//
//   training_bench MODEL [f32|bf16] [LENGTH] [ROWS] [THREADS] [VARIANT] [recompute]
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "bench/limits.h"
#include "checkpoint/checkpoint.h"
#include "kernels/variants.h"
#include "models/trainable.h"
#include "train/objective.h"

using namespace fusiontree;

int main(int argc, char** argv) {
  const auto argument = [&](int index, const char* otherwise) {
    return index < argc ? argv[index] : otherwise;
  };
  if (argc < 2) {
    std::fprintf(stderr, "training_bench MODEL [f32|bf16] [LENGTH] [ROWS] [THREADS] [VARIANT] [recompute]\n");
    return 2;
  }
  const bool f32 = std::string(argument(2, "f32")) == "f32";
  const int64_t length = std::atol(argument(3, "1024")), rows = std::atol(argument(4, "1"));
  base::ThreadPool pool(std::atoi(argument(5, "2")));
  const kernels::Variant* variant = argc > 6 ? kernels::Find(argv[6]) : &kernels::Best();
  if (variant == nullptr || variant->table == nullptr) return 2;
  const bool recompute = std::string(argument(7, "")) == "recompute";
  ops::Context context(&pool, variant->table);
  context.set_recompute(recompute);
  auto checkpoint = checkpoint::Checkpoint::Open(argv[1]);
  if (!checkpoint.ok()) return std::fprintf(stderr, "%s\n", checkpoint.status().message().c_str()), 2;
  models::ModelOptions options;
  options.compute = f32 ? models::ComputeType::kF32 : models::ComputeType::kBf16;
  options.trainable = true;
  auto model = models::LoadModel(*checkpoint, options, context);
  if (!model.ok()) return std::fprintf(stderr, "%s\n", model.status().message().c_str()), 2;
  const int64_t vocabulary = (*model)->config().vocab_size;
  cache::BlockPool pages((*model)->cache_layout(), size_t{8} << 30);
  const auto peaks = bench::MeasureLimits(pool, size_t{64} << 20);
  const double peak = peaks.ok() ? peaks->FlopsFor(variant->name, false) : 0.0;

  train::Objective objective(&context, model->get());
  double best = 1e9;
  for (int turn = 0; turn < (length * rows > 16384 ? 2 : 6); ++turn) {
    std::vector<std::unique_ptr<cache::SequenceState>> sequences;
    train::Slot slot;
    for (int64_t r = 0; r < rows; ++r) {
      std::vector<int32_t> ids;
      for (int64_t i = 0; i < length; ++i)
        ids.push_back(static_cast<int32_t>((i * i * 31 + i * 7 + r * 13 + turn) % vocabulary));
      sequences.push_back((*model)->NewSequence(&pages));
      if (!slot.batch.Add(sequences.back().get(), ids.data(), length).ok()) return 1;
      for (int64_t i = 0; i < length; ++i)
        slot.targets.push_back(i + 1 < length ? ids[static_cast<size_t>(i + 1)] : -1);
    }
    const auto begin = std::chrono::steady_clock::now();
    (*model)->trainable()->ZeroGradients(context);
    auto losses = objective.Run(slot, {rows * (length - 1), rows * length}, {.balance = 0.01});
    if (!losses.ok()) return std::fprintf(stderr, "%s\n", losses.status().message().c_str()), 1;
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  const double tokens = static_cast<double>(rows * length);
  const double flops = 3.0 * ((*model)->FlopsPerToken(length / 2) + (*model)->HeadFlops());
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  std::printf(
      "%s %s%s, %d threads, %ld rows of %ld: %.0f tokens/s, %.3f of %.0f GFLOP/s (fp32 FMA), %.2f GB\n",
      variant->name, f32 ? "f32" : "bf16", recompute ? " recompute" : "", pool.size(),
      static_cast<long>(rows), static_cast<long>(length), tokens / best, flops * tokens / best / peak,
      peak * 1e-9, static_cast<double>(usage.ru_maxrss) * 1024e-9);
  return 0;
}
