// `fusiontree verify`: is what the engine computes right, and is it always the same.
//
// VerifyModel      every operation against the oracle, fed with the engine's own input of it; the first that
// departs VerifyAgainst    logits and hidden states against another framework's dump VerifyInvariance the
// promise of docs/numerics.md on this machine: the same bits whatever the schedule
#ifndef FUSIONTREE_VERIFY_VERIFY_H_
#define FUSIONTREE_VERIFY_VERIFY_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"

namespace fusiontree::parallel {
class Communicator;
}

namespace fusiontree::verify {

// Fraction done, 0..1, and what is being done.
using Progress = std::function<void(double fraction, const std::string& what)>;

// How the engine is to be run.
struct EngineChoice {
  std::string dtype = "auto";                      // auto, bf16, f32
  std::string kv = "auto";                         // auto, bf16, f32
  std::string isa = "auto";                        // auto, ref, avx2, avx512, avx512bf16, amx
  int threads = 0;                                 // 0: one per available processor
  parallel::Communicator* communicator = nullptr;  // ranks that run the engine; null: one rank
};

// How it was run.
struct EngineUsed {
  std::string model, family;
  std::string isa, type, kv;  // as chosen; type as Model::TypeName says it
  int threads = 0;
  int ranks = 1;
};

// ---- Against the oracle ----

struct VerifyOptions {
  EngineChoice engine;
  std::vector<std::vector<int32_t>> sequences;  // token ids; empty: two random texts of 80 and 16 tokens
  uint64_t seed = 1;                            // of the random texts
  int64_t chunk =
      0;  // 0: all texts whole, in one forward; else one text after the other, so many tokens a forward
  std::string reference;  // checkpoint that the oracle reads; empty: the same
  Progress progress;
};

struct OperationReport {
  std::string op;
  int layer = -1;  // -1: outside the layers
  double max_error = 0,
         bound = 0;             // |engine - oracle| where it is largest relative to its bound, and that bound
  double end_to_end_error = 0;  // largest |engine - truth|, relative to the root mean square of the truth
  bool ok = true;               // every element within its bound
  int64_t sequence = 0, position = 0, column = 0;  // of max_error
};

struct VerifyReport {
  EngineUsed engine;
  int64_t texts = 0, positions = 0;
  std::vector<std::string> config_differences;  // where oracle and engine read the config differently
  std::vector<OperationReport> operations;      // in the order of the forward
  double logits_error = 0;  // largest |engine - truth| of the logits over their standard deviation

  const OperationReport* FirstDeparture() const;  // null when there is none
  bool ok() const { return config_differences.empty() && FirstDeparture() == nullptr; }
};

base::Result<VerifyReport> VerifyModel(const std::string& model_path, const VerifyOptions& options);

// ---- Against another framework ----

struct AgainstOptions {
  EngineChoice engine;
  // Largest error allowed, in standard deviations of the dump's values. 0: 1e-4 where the engine computes in
  // fp32 (the bound of the parity tests), else 0.1.
  double tolerance = 0;
  Progress progress;
};

struct LayerError {
  std::string name;                  // "hidden_3", "logits", "logits_1"
  std::string meaning;               // "entering layer 3", ...
  double max_error = 0;              // largest |engine - dump|, in standard deviations of the dump's values
  double rms_error = 0;              // root mean square of the same
  int64_t position = 0, column = 0;  // of max_error
  bool ok = true;
};

struct AgainstReport {
  EngineUsed engine;
  std::string dump;
  double tolerance = 0;
  int64_t texts = 0, positions = 0;
  int64_t same_choice = 0;         // positions at which both have the same largest logit
  std::vector<LayerError> layers;  // hidden states in order, then logits

  const LayerError* FirstDeparture() const;
  bool ok() const { return FirstDeparture() == nullptr; }
};

base::Result<AgainstReport> VerifyAgainst(const std::string& model_path, const std::string& dump_path,
                                          const AgainstOptions& options);

// ---- Against itself ----

struct InvarianceOptions {
  std::vector<std::string> isas;    // empty: every variant that this processor has
  std::vector<std::string> dtypes;  // empty: auto, bf16, f32; those that come to the same are run once
  std::vector<std::string> kvs;     // empty: bf16, f32
  std::vector<std::vector<int32_t>> sequences;  // empty: random texts of 1, 7, 17, 64, 65 and 150 tokens
  uint64_t seed = 1;
  std::vector<int> ranks;                          // degrees, run as threads of this process, beside one rank
  parallel::Communicator* communicator = nullptr;  // its number of ranks is run too
  bool full = false;  // every threads x batch x chunk; else a selection in which each pair of values meets
  Progress progress;
};

struct InvarianceCombination {
  std::string isa, type, kv;
  int64_t conditions = 0;   // compared with the first (one thread, alone, whole)
  int64_t comparisons = 0;  // rows of logits compared by memcmp
  int64_t differing_rows = 0;
  int64_t differing_bits = 0;
  std::string first_difference;  // condition, text and position; empty when there is none
};

struct InvarianceReport {
  std::string model, family;
  int64_t texts = 0, positions = 0;  // of one condition
  int64_t vocab_size = 0;
  std::vector<std::string> ranks, threads, batches, chunks;  // the values that were combined
  std::vector<InvarianceCombination> combinations;
  std::vector<std::string> skipped;  // variants, and why

  bool ok() const;
};

base::Result<InvarianceReport> VerifyInvariance(const std::string& model_path,
                                                const InvarianceOptions& options);

// ---- For people and for programs ----

// `all`: every operation; else the worst of each kind and those that depart.
std::string Table(const VerifyReport& report, bool all);
std::string Table(const AgainstReport& report);
std::string Table(const InvarianceReport& report);
// One JSON object with the fields of the structs above and "ok".
std::string Json(const VerifyReport& report);
std::string Json(const AgainstReport& report);
std::string Json(const InvarianceReport& report);

}  // namespace fusiontree::verify

#endif  // FUSIONTREE_VERIFY_VERIFY_H_
