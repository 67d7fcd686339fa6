// How fast a loaded model prefills and decodes, beside what the machine's limits allow.
#ifndef FUSIONTREE_BENCH_MODEL_BENCH_H_
#define FUSIONTREE_BENCH_MODEL_BENCH_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "bench/limits.h"
#include "models/model.h"
#include "ops/context.h"

namespace fusiontree::bench {

struct Plan {
  std::vector<int64_t> prefills = {128, 512, 2048};  // prompt lengths; those beyond the context are skipped
  std::vector<int64_t> batches = {1, 4, 16, 32};     // sequences decoding at once
  std::vector<int64_t> contexts;                     // one sequence decoding after so many tokens
  int64_t decode_prompt = 128;                       // tokens before the others begin to decode
  int64_t chunk = 512;
  double seconds = 1.0;                                  // at least this long for each measurement
  std::function<base::Result<Limits>()> measure_limits;  // again
  std::function<void(double)> progress;
};

struct Measurement {
  std::string what;                         // "prefill 512", "decode x16"
  double seconds = 0;                       // of one prefill or one decode step: the median
  double best_seconds = 0;                  // the quickest
  double tokens_per_second = 0;             // from the median
  double tokens = 0, flops = 0, bytes = 0;  // of one prefill or step: made, computed, read at least
  double limit = 0;                         // tokens per second that the machine's limits allow
  std::string bound_by;                     // "arithmetic" or "bandwidth"
  parallel::Traffic traffic;                // of one prefill or step on several ranks: the median
  // The quickest against the most that the machine showed: both without what other work took away.
  double ratio() const { return limit > 0 && best_seconds > 0 ? tokens / best_seconds / limit : 0; }
};

// Prefill counts 2 operations for each matrix parameter a row uses, causal attention, and the head for one
// row. A decode step must at least read the weights once and each sequence's cache, and do its arithmetic.
// What else runs on the machine takes from its limits at times: they are measured again between the models'
// measurements, and `limits` is raised to the most that was seen, before any ratio is taken.
base::Result<std::vector<Measurement>> MeasureModel(ops::Context& context, const models::Model& model,
                                                    const Plan& plan, Limits* limits);

}  // namespace fusiontree::bench

#endif  // FUSIONTREE_BENCH_MODEL_BENCH_H_
