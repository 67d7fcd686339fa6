// The same bits whatever the schedule (docs/numerics.md), asked of one checkpoint on one machine.
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "engine/forced_run.h"
#include "engine/ranks.h"
#include "kernels/variants.h"
#include "models/spec.h"
#include "parallel/local.h"
#include "parallel/tree.h"
#include "verify/setup.h"
#include "verify/verify.h"

namespace fusiontree::verify {
namespace {

using base::OkStatus;
using base::Result;
using base::Status;
using Texts = std::vector<std::vector<int32_t>>;

constexpr int kThreads[] = {1, 2, 3};
enum class Company { kAlone, kWithOthers, kReversed };
constexpr Company kCompanies[] = {Company::kAlone, Company::kWithOthers, Company::kReversed};
constexpr const char* kCompanyNames[] = {"alone", "with others", "reversed"};
constexpr int64_t kChunks[] = {0, 64, 17, 16, 1};  // 0: whole
// Plain loops do some 300 million operations a second: a model beyond this many a token would take hours.
constexpr double kMostRefFlops = 50e6;

struct Condition {
  int threads;
  Company company;
  int64_t chunk;
  int ranks = 1;
};

std::string ChunkName(int64_t chunk) {
  if (chunk == 0) return "whole";
  return chunk == 1 ? "token by token" : fmt::format("chunks of {}", chunk);
}
std::string Name(const Condition& c) {
  const std::string ranks = c.ranks == 1 ? "" : fmt::format("{} ranks, ", c.ranks);
  return fmt::format("{}{} thread{}, {}, {}", ranks, c.threads, c.threads == 1 ? "" : "s",
                     kCompanyNames[static_cast<int>(c.company)], ChunkName(c.chunk));
}

// The first is the one that the others are compared with. The selection is a Latin square: chunk i and
// company j meet at thread count (i + j) mod 3, so that every pair of values occurs.
std::vector<Condition> Conditions(int ranks, bool full) {
  std::vector<Condition> out;
  for (size_t i = 0; i < std::size(kChunks); ++i)
    for (size_t j = 0; j < std::size(kCompanies); ++j)
      for (size_t t = 0; t < std::size(kThreads); ++t)
        if (full || t == (i + j) % std::size(kThreads))
          out.push_back({kThreads[t], kCompanies[j], kChunks[i], ranks});
  return out;
}

// Two dimensions, but fp32 in every type: no operand of a product (R9).
bool IsTable(const std::string& name) {
  return name.ends_with(".A_log") || name.ends_with("srte.weight") || name.ends_with("srte.factor");
}

// bf16 and f32 come to the same as auto when every matrix of the file is of one kind.
std::vector<std::string> DistinctTypes(const checkpoint::Checkpoint& checkpoint) {
  bool any_bf16 = false, any_wide = false;
  for (const checkpoint::TensorInfo& tensor : checkpoint.tensors()) {
    if (tensor.shape.size() != 2 || IsTable(tensor.name)) continue;
    const bool bf16 = tensor.type == tensor::DType::kBF16 || tensor::IsQuantised(tensor.type);
    (bf16 ? any_bf16 : any_wide) = true;
  }
  if (any_bf16 && any_wide) return {"auto", "bf16", "f32"};
  return {"bf16", "f32"};
}

class Matrix {
 public:
  Matrix(const Texts& texts, int64_t vocab_size) : texts_(texts), vocab_size_(vocab_size) {
    int64_t rows = 0;
    for (const std::vector<int32_t>& text : texts) {
      first_row_.push_back(rows);
      rows += static_cast<int64_t>(text.size());
      longest_ = std::max(longest_, static_cast<int64_t>(text.size()));
    }
    baseline_.resize(static_cast<size_t>(rows * vocab_size));
    rows_ = rows;
  }

  // Every condition of one number of ranks, on what is loaded. The very first condition fills the baseline,
  // others are compared with it.
  Status RunAll(const Setup& setup, bool full, const std::function<void(double)>& progress,
                InvarianceCombination* out) {
    const std::vector<Condition> conditions = Conditions(setup.used.ranks, full);
    for (size_t c = 0; c < conditions.size(); ++c) {
      FT_RETURN_IF_ERROR(Run(setup, conditions[c], out));
      if (progress) progress(static_cast<double>(c + 1) / static_cast<double>(conditions.size()));
    }
    return OkStatus();
  }

 private:
  Status Run(const Setup& setup, const Condition& condition, InvarianceCombination* out) {
    const bool first = !filled_;
    filled_ = true;
    if (condition.ranks > 1) engine::UseThreadsOnAllRanks(setup.context().communicator(), condition.threads);
    base::ThreadPool pool(condition.threads);
    ops::Context context(&pool, &setup.context().kernels(),
                         condition.ranks > 1 ? &setup.context().communicator() : nullptr);
    engine::ForcedOptions options;
    options.chunk = condition.chunk > 0 ? condition.chunk : longest_;
    options.together = condition.company != Company::kAlone;
    options.reverse = condition.company == Company::kReversed;
    std::vector<uint8_t> seen(static_cast<size_t>(rows_));
    FT_RETURN_IF_ERROR(engine::ForcedRun(
        context, setup.model(), texts_, options, [&](int64_t text, int64_t position, const float* logits) {
          const int64_t row = first_row_[static_cast<size_t>(text)] + position;
          seen[static_cast<size_t>(row)] += 1;
          float* expected = baseline_.data() + row * vocab_size_;
          if (first)
            std::memcpy(expected, logits, RowBytes());
          else
            Compare(condition, text, position, expected, logits, out);
          return OkStatus();
        }));
    for (const uint8_t times : seen)
      if (times != 1)
        return base::Failed("{}: a position was reported {} times, expected once", Name(condition), times);
    if (!first) out->conditions += 1;
    return OkStatus();
  }
  size_t RowBytes() const { return static_cast<size_t>(vocab_size_) * sizeof(float); }

  void Compare(const Condition& condition, int64_t text, int64_t position, const float* expected,
               const float* got, InvarianceCombination* out) const {
    out->comparisons += 1;
    if (std::memcmp(expected, got, RowBytes()) == 0) return;
    out->differing_rows += 1;
    for (int64_t i = 0; i < vocab_size_; ++i) {
      const uint32_t bits = std::bit_cast<uint32_t>(expected[i]) ^ std::bit_cast<uint32_t>(got[i]);
      out->differing_bits += std::popcount(bits);
      if (bits != 0 && out->first_difference.empty())
        out->first_difference = fmt::format(
            "{}: text {} of {} tokens, position {}, token {}: {:.9g} instead of {:.9g}", Name(condition),
            text, texts_[static_cast<size_t>(text)].size(), position, i, got[i], expected[i]);
    }
  }

  const Texts& texts_;
  int64_t vocab_size_, rows_ = 0, longest_ = 1;
  bool filled_ = false;
  std::vector<int64_t> first_row_;
  std::vector<float> baseline_;  // [rows, V] of the first condition
};

struct Choice {
  std::string isa, dtype, kv;
};

std::vector<Choice> Choices(const InvarianceOptions& options, const checkpoint::Checkpoint& checkpoint,
                            InvarianceReport* report) {
  std::vector<std::string> isas = options.isas;
  if (isas.empty())
    for (const kernels::Variant& variant : kernels::Variants()) {
      if (variant.table)
        isas.push_back(variant.name);
      else
        report->skipped.push_back(fmt::format("{}: {}", variant.name, variant.missing));
    }
  const std::vector<std::string> dtypes = options.dtypes.empty() ? DistinctTypes(checkpoint) : options.dtypes;
  const std::vector<std::string> kvs =
      options.kvs.empty() ? std::vector<std::string>{"bf16", "f32"} : options.kvs;
  std::vector<Choice> out;
  for (const std::string& isa : isas)
    for (const std::string& dtype : dtypes)
      for (const std::string& kv : kvs) out.push_back({isa, dtype, kv});
  return out;
}

Texts DefaultTexts(const InvarianceOptions& options, const models::Config& config) {
  if (!options.sequences.empty()) return options.sequences;
  // A lone token, one less and one more than a chunk or page, and past two pages.
  std::vector<int64_t> lengths = {1, 17, 65, 130};
  if (options.full) lengths = {1, 7, 17, 64, 65, 150};
  for (int64_t& length : lengths) length = std::min(length, config.max_positions);
  return RandomTexts(options.seed, lengths, config.vocab_size);
}

}  // namespace

Result<InvarianceCombination> InvarianceOfSetup(const Setup& setup, const Texts& texts, bool full,
                                                const std::function<void(double)>& progress) {
  Matrix matrix(texts, setup.model().config().vocab_size);
  InvarianceCombination out;
  out.isa = setup.used.isa;
  out.type = setup.used.type;
  out.kv = setup.used.kv;
  FT_RETURN_IF_ERROR(matrix.RunAll(setup, full, progress, &out));
  return out;
}

namespace {

// All conditions of one choice: one rank first, then each degree.
class Combination {
 public:
  Combination(const std::string& model_path, const InvarianceOptions& options, const Texts& texts,
              const models::Config& config, std::function<void(double)> progress)
      : path_(model_path),
        options_(options),
        matrix_(texts, config.vocab_size),
        progress_(std::move(progress)),
        runs_(1 + static_cast<double>(options.ranks.size()) + (options.communicator ? 1 : 0)) {}

  // False: a model of this size is not run on plain loops.
  Result<bool> Run(const Choice& choice, InvarianceCombination* out) {
    const EngineChoice engine{choice.dtype, choice.kv, choice.isa, 0};
    FT_ASSIGN_OR_RETURN(const bool ran, OnRanks(engine, out));
    if (!ran) return false;
    for (const int ranks : options_.ranks) {
      if (ranks == 1) continue;
      FT_RETURN_IF_ERROR(parallel::RunRanks(ranks, [&](parallel::Communicator& communicator) -> Status {
        if (communicator.rank() != 0) return engine::Follow(communicator);
        EngineChoice cut = engine;
        cut.communicator = &communicator;
        const Result<bool> done = OnRanks(cut, out);
        engine::EndRanks(communicator);
        return done.status();
      }));
    }
    if (options_.communicator) {
      EngineChoice cut = engine;
      cut.communicator = options_.communicator;
      FT_RETURN_IF_ERROR(OnRanks(cut, out).status());
    }
    return true;
  }

 private:
  Result<bool> OnRanks(const EngineChoice& choice, InvarianceCombination* out) {
    const auto progress = [&](double part) {
      if (progress_) progress_((done_ + part) / runs_);
    };
    FT_ASSIGN_OR_RETURN(const Setup setup,
                        LoadSetup(path_, choice, [&](double part) { progress(0.1 * part); }));
    if (options_.isas.empty() && choice.isa == "ref" && setup.model().FlopsPerToken(0) > kMostRefFlops)
      return false;
    out->isa = setup.used.isa;
    out->type = setup.used.type;
    out->kv = setup.used.kv;
    FT_RETURN_IF_ERROR(matrix_.RunAll(
        setup, options_.full, [&](double part) { progress(0.1 + 0.9 * part); }, out));
    ++done_;
    return true;
  }

  const std::string& path_;
  const InvarianceOptions& options_;
  Matrix matrix_;
  std::function<void(double)> progress_;
  double runs_, done_ = 0;
};

}  // namespace

bool InvarianceReport::ok() const {
  int64_t comparisons = 0;
  for (const InvarianceCombination& combination : combinations) {
    if (combination.differing_rows > 0) return false;
    comparisons += combination.comparisons;
  }
  return comparisons > 0;
}

Result<InvarianceReport> VerifyInvariance(const std::string& model_path, const InvarianceOptions& options) {
  InvarianceReport report;
  report.model = model_path;
  FT_ASSIGN_OR_RETURN(const checkpoint::Checkpoint checkpoint, checkpoint::Checkpoint::Open(model_path));
  FT_ASSIGN_OR_RETURN(const std::unique_ptr<models::Spec> spec, models::ReadSpec(checkpoint));
  const models::Config& config = spec->config();
  for (const int ranks : options.ranks)  // not after an hour of the valid ones
    if (!parallel::ValidDegree(config.reduction_slices, ranks))
      return base::BadInput("{}: this model cannot be cut over {} ranks, but over {}", model_path, ranks,
                            fmt::join(parallel::ValidDegrees(config.reduction_slices), ", "));
  report.family = config.family;
  report.vocab_size = config.vocab_size;
  const Texts texts = DefaultTexts(options, config);
  for (const std::vector<int32_t>& text : texts)
    if (text.empty()) return base::BadInput("a text without tokens cannot be compared");
  report.texts = static_cast<int64_t>(texts.size());
  for (const std::vector<int32_t>& text : texts) report.positions += static_cast<int64_t>(text.size());
  report.ranks = {"1"};
  for (const int ranks : options.ranks)
    if (ranks != 1) report.ranks.push_back(fmt::format("{}", ranks));
  if (options.communicator)
    report.ranks.push_back(fmt::format("{} under mpirun", options.communicator->size()));
  for (const int threads : kThreads) report.threads.push_back(fmt::format("{}", threads));
  for (const char* name : kCompanyNames) report.batches.emplace_back(name);
  for (const int64_t chunk : kChunks) report.chunks.push_back(ChunkName(chunk));

  const std::vector<Choice> choices = Choices(options, checkpoint, &report);
  for (size_t i = 0; i < choices.size(); ++i) {
    const Choice& choice = choices[i];
    const auto progress = [&](double part) {
      if (options.progress)
        options.progress((static_cast<double>(i) + part) / static_cast<double>(choices.size()),
                         fmt::format("{}, {}, cache {}", choice.isa, choice.dtype, choice.kv));
    };
    InvarianceCombination combination;
    FT_ASSIGN_OR_RETURN(const bool ran,
                        Combination(model_path, options, texts, config, progress).Run(choice, &combination));
    if (!ran) {
      const std::string note = "ref: plain loops would take hours on a model of this size; --isa ref runs it";
      if (report.skipped.empty() || report.skipped.back() != note) report.skipped.push_back(note);
      continue;
    }
    report.combinations.push_back(std::move(combination));
  }
  return report;
}

}  // namespace fusiontree::verify
