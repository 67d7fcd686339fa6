// verify: is what the engine computes right (against the oracle, or another framework's dump), and always the
// same.
#include <algorithm>
#include <charconv>
#include <string>

#include "base/progress.h"
#include "cli/command.h"
#include "cli/files.h"
#include "cli/model_flags.h"
#include "verify/verify.h"

namespace fusiontree::cli {
namespace {

class Verify : public Command {
 public:
  std::string Name() const override { return "verify"; }
  std::string Summary() const override {
    return "compare every operation with plain double precision, or prove that the bits never change";
  }
  std::string Example() const override {
    return "  fusiontree verify models/SmolLM2-135M-Instruct.Q4_1.gguf\n"
           "  fusiontree verify MODEL --invariance\n"
           "  fusiontree verify MODEL --dtype f32 --against dump.safetensors";
  }

  void Declare(Options& options) override {
    flags_.DeclareWithoutChunk(options);
    options.Text("--ids", "FILE", "token ids to run: a JSON list, or a list of lists (default: random texts)",
                 &ids_);
    options.Integer("--seed", "of the random texts (default 1)", 0, INT64_MAX, &seed_);
    options.Integer("--chunk", "tokens of one forward (default: whole texts)", 1, int64_t{1} << 16, &chunk_);
    options.Text("--reference", "MODEL", "checkpoint that the oracle reads (default: the same)", &reference_);
    options.Text("--against", "FILE",
                 "compare with another framework's dump, in the format of logits --hidden", &against_);
    options.Number("--tolerance", "with --against: largest error allowed, in standard deviations", 0, 1e6,
                   &tolerance_);
    options.Flag("--invariance",
                 "run the same texts in every way (threads, batch, chunks, order, variants, types) and "
                 "compare every bit",
                 &invariance_);
    options.Text("--ranks", "LIST",
                 "with --invariance: also on so many ranks, as threads of this process: 1,2,4", &ranks_);
    options.Flag("--full", "with --invariance: every combination instead of a selection", &full_);
    options.Flag("--all", "show every operation instead of the worst of each kind", &all_);
    options.Flag("--json", "the report as JSON", &json_);
  }

  void UseRanks(parallel::Communicator* communicator) override { flags_.communicator = communicator; }

  base::Status Run() override {
    if (against_ && invariance_) return base::BadInput("--against and --invariance exclude each other");
    if (tolerance_ && !against_) return base::BadInput("--tolerance needs --against");
    if (full_ && !invariance_) return base::BadInput("--full needs --invariance");
    if (ranks_ && !invariance_) return base::BadInput("--ranks needs --invariance");
    if (against_ && (ids_ || chunk_ || reference_))
      return base::BadInput("with --against the texts are those of the dump, run whole");
    if (ids_) {
      FT_ASSIGN_OR_RETURN(const std::string text, ReadInput(*ids_));
      bool nested = false;
      FT_ASSIGN_OR_RETURN(sequences_, ParseIdLists("--ids " + *ids_, text, &nested));
    }
    if (invariance_) return RunInvariance();
    return against_ ? RunAgainst() : RunOracle();
  }

 private:
  verify::EngineChoice Choice() const {
    return {.dtype = flags_.dtype,
            .kv = flags_.kv,
            .isa = flags_.isa,
            .threads = static_cast<int>(flags_.threads),
            .communicator = flags_.communicator};
  }

  template <typename Report>
  base::Status Show(const Report& report, const std::string& table, const char* verdict) {
    progress_.Finish();
    FT_RETURN_IF_ERROR(WriteOutput(json_ ? verify::Json(report) + "\n" : table));
    return report.ok() ? base::OkStatus() : base::Failed("{}", verdict);
  }

  base::Status RunOracle() {
    verify::VerifyOptions options;
    options.engine = Choice();
    options.sequences = sequences_;
    options.seed = static_cast<uint64_t>(seed_);
    options.chunk = chunk_.value_or(0);
    options.reference = reference_.value_or("");
    options.progress = [this](double fraction, const std::string&) { progress_.Update(fraction); };
    FT_ASSIGN_OR_RETURN(const verify::VerifyReport report, verify::VerifyModel(flags_.model, options));
    return Show(report, verify::Table(report, all_), "the engine departs from the oracle");
  }

  base::Status RunAgainst() {
    verify::AgainstOptions options;
    options.engine = Choice();
    options.tolerance = tolerance_.value_or(0);
    options.progress = [this](double fraction, const std::string&) { progress_.Update(fraction); };
    FT_ASSIGN_OR_RETURN(const verify::AgainstReport report,
                        verify::VerifyAgainst(flags_.model, *against_, options));
    return Show(report, verify::Table(report), "the engine departs from the dump");
  }

  base::Status RunInvariance() {
    verify::InvarianceOptions options;
    if (flags_.isa != "auto") options.isas = {flags_.isa};
    if (flags_.dtype != "auto") options.dtypes = {flags_.dtype};
    if (flags_.kv != "auto") options.kvs = {flags_.kv};
    options.sequences = sequences_;
    options.seed = static_cast<uint64_t>(seed_);
    options.full = full_;
    FT_ASSIGN_OR_RETURN(const std::vector<int64_t> ranks,
                        ParseNumbers("--ranks", ranks_.value_or("1"), 1, 64));
    options.ranks.assign(ranks.begin(), ranks.end());
    options.communicator = flags_.communicator;
    options.progress = [this](double fraction, const std::string&) { progress_.Update(fraction); };
    FT_ASSIGN_OR_RETURN(const verify::InvarianceReport report,
                        verify::VerifyInvariance(flags_.model, options));
    return Show(report, verify::Table(report), "bits differ between runs that must be the same");
  }

  ModelFlags flags_;
  std::optional<std::string> ids_, reference_, against_, ranks_;
  std::optional<int64_t> chunk_;
  std::optional<double> tolerance_;
  int64_t seed_ = 1;
  bool invariance_ = false, full_ = false, all_ = false, json_ = false;
  std::vector<std::vector<int32_t>> sequences_;
  base::Progress progress_{"verifying"};
};

}  // namespace

std::unique_ptr<Command> NewVerify() { return std::make_unique<Verify>(); }

}  // namespace fusiontree::cli
