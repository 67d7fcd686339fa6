// train: a run from its YAML file, alone or on every rank of mpirun.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>

#include "base/progress.h"
#include "bench/limits.h"
#include "cli/command.h"
#include "cli/files.h"
#include "cli/interrupt.h"
#include "cli/run_folder.h"
#include "cli/train_estimate.h"
#include "cli/train_log.h"
#include "engine/ranks.h"
#include "engine/setup.h"
#include "report/json.h"
#include "report/plot_run.h"
#include "report/units.h"
#include "train/snapshot_folder.h"
#include "train/trainer.h"

namespace fusiontree::cli {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double Since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// As a shell takes it.
std::string Quoted(const std::string& text) {
  const char* const kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+,=:@%";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

class Train : public Command {
 public:
  std::string Name() const override { return "train"; }
  std::string Summary() const override { return "train a model on token shards, or go on with a run"; }
  std::string Example() const override {
    return "  fusiontree train configs/quickstart.yaml -o run\n"
           "  fusiontree train configs/quickstart.yaml -o run --resume\n"
           "  fusiontree train --plot run";
  }
  bool OnEveryRank() const override { return true; }

  void Declare(Options& options) override {
    options.Arguments("CONFIG.yaml", "what the run is (docs/training.md); one, or none with --plot",
                      &configs_);
    options.Text("--plot", "RUN", "only draw the pictures of a run, as PNG and SVG into RUN/plots", &plot_);
    options.Text("-o,--output", "RUN", "the run's folder: checkpoints and metrics", &run_);
    options.Flag("--resume", "go on from the last checkpoint of RUN", &resume_);
    options.Flag("--allow-changes", "resume although the config is another than the run's", &allow_changes_);
    options.Flag("--dry-run", "train nothing: measure a step, say what the run would cost", &dry_run_);
    options.Integer("--stop-after", "stop, and save, after so many steps of this start", 0, INT64_MAX,
                    &stop_after_);
    options.Integer("--threads", "threads of a rank (default: one per available processor)", 0, 4096,
                    &threads_);
    std::vector<std::string> variants = {"auto"};
    for (const char* name : {"ref", "avx2", "avx512", "avx512bf16", "amx"}) variants.emplace_back(name);
    options.Choice("--isa", variants, "the kernels' instruction set (default auto)", &isa_);
    options.Flag("--json", "the result as JSON", &json_);
  }
  void UseRanks(parallel::Communicator* communicator) override { ranks_ = communicator; }

  base::Status Run() override {
    if (plot_) return Plot();
    if (configs_.size() != 1)
      return base::BadInput("expected one CONFIG.yaml: what to train, and there are {}", configs_.size());
    config_ = configs_[0];
    FT_ASSIGN_OR_RETURN(const std::string text, ReadInput(config_));
    if (!run_ && !dry_run_) return base::BadInput("-o RUN is missing: where to write");
    FT_ASSIGN_OR_RETURN(const kernels::Table* table, engine::ChooseTable(isa_));
    FT_ASSIGN_OR_RETURN(const int threads, threads_ == 0 && ranks_ != nullptr
                                               ? base::Result<int>(engine::SharedThreads(*ranks_))
                                               : engine::ChooseThreads(static_cast<int>(threads_)));
    base::ThreadPool pool(threads);
    if (dry_run_) return DryRun(text, config_, json_, &pool, table, ranks_);
    std::optional<RunFolder> folder;
    if (first()) {
      FT_ASSIGN_OR_RETURN(RunFolder opened, RunFolder::Open(*run_, resume_));
      folder.emplace(std::move(opened));
    }
    if (ranks_) ranks_->Barrier();
    const base::Status status = RunOn(text, *run_, table, &pool);
    if (!status.ok() && ranks_) ranks_->Fail(status);
    if (folder && !started_) folder->Forget();
    return status;
  }

 private:
  struct Window {  // of the steps since the last line
    double seconds = 0.0, flops = 0.0;
    int64_t tokens = 0;
  };

  bool first() const { return ranks_ == nullptr || ranks_->rank() == 0; }

  base::Status RunOn(const std::string& text, const std::string& run, const kernels::Table* table,
                     base::ThreadPool* pool) {
    const train::Trainer::Options options{run, resume_, allow_changes_};
    FT_ASSIGN_OR_RETURN(const std::unique_ptr<train::Trainer> trainer,
                        train::Trainer::Create(text, config_, options, pool, table, ranks_));
    started_ = true;
    pool_ = pool;
    table_ = table;
    const auto limits = bench::MeasureLimits(*pool, size_t{16} << 20);
    peak_ = limits.ok() ? limits->FlopsFor(table->name, trainer->config().bf16) : 0.0;
    Say(fmt::format("{}: {} parameters in {}, {} of {} steps done, {} tokens in all\n", run,
                    report::Count(static_cast<double>(trainer->layout().size())), trainer->model().TypeName(),
                    trainer->step(), trainer->steps(), report::Grouped(trainer->config().tokens())));
    if (first()) {
      FT_ASSIGN_OR_RETURN(TrainLog log, TrainLog::Open(run, trainer->step()));
      log_.emplace(std::move(log));
    }
    InterruptScope interrupt(/*once=*/true, /*also_terminate=*/true);
    const Clock::time_point begin = Clock::now();
    const int64_t start = trainer->step();
    bool interrupted = false;
    for (int64_t left = stop_after_ > 0 ? stop_after_ : INT64_MAX; left > 0 && !trainer->done(); --left) {
      FT_RETURN_IF_ERROR(Step(*trainer));
      const train::RunConfig& config = trainer->config();
      if (config.evaluate_every > 0 && trainer->step() % config.evaluate_every == 0)
        FT_RETURN_IF_ERROR(Evaluate(*trainer));
      interrupted = Interrupted();
      if (interrupted) break;
      const bool last = left == 1 || trainer->done();
      if (!last && config.checkpoint_every > 0 && trainer->step() % config.checkpoint_every == 0)
        FT_RETURN_IF_ERROR(Save(*trainer).status());
    }
    progress_.Finish();
    if (!interrupted && evaluated_ != trainer->step()) FT_RETURN_IF_ERROR(Evaluate(*trainer));
    FT_ASSIGN_OR_RETURN(const std::string saved, Save(*trainer));
    FT_RETURN_IF_ERROR(trainer->AwaitSave());
    return Tell(*trainer, run, saved, trainer->step() - start, Since(begin));
  }

  base::Result<std::string> Save(train::Trainer& trainer) {
    if (first()) FT_RETURN_IF_ERROR(log_->Sync());
    return trainer.Save();
  }

  base::Status Step(train::Trainer& trainer) {
    const double flops = trainer.StepFlops();
    const int64_t before = trainer.tokens();
    const Clock::time_point begin = Clock::now();
    FT_ASSIGN_OR_RETURN(const train::StepReport step, trainer.Step());
    window_.seconds += Since(begin);
    window_.tokens += step.tokens - before;
    window_.flops += flops;
    const double rate = static_cast<double>(window_.tokens) / window_.seconds;
    if (live_ && first()) {
      progress_.Update(
          static_cast<double>(step.tokens) / static_cast<double>(trainer.config().tokens()),
          fmt::format("step {}/{}  loss {:.4f}  {} tok/s{}", step.step, trainer.steps(), step.losses.total,
                      report::Grouped(std::llround(rate)), TimeLeft(trainer, step, rate)));
    }
    if (step.step % trainer.config().log_every != 0 && !trainer.done()) return base::OkStatus();
    const Window window = std::exchange(window_, {});
    return first() ? Log(trainer, step, window) : base::OkStatus();
  }

  bool Interrupted() const {
    uint8_t mine = InterruptScope::requested();
    if (ranks_ == nullptr) return mine;
    std::vector<uint8_t> all(static_cast<size_t>(ranks_->size()));
    ranks_->AllGather(&mine, 1, all.data());
    return std::count(all.begin(), all.end(), 1) > 0;
  }

  // To the end of the run at this rate of tokens a second.
  static std::string TimeLeft(const train::Trainer& trainer, const train::StepReport& step, double rate) {
    const int64_t tokens = trainer.config().tokens() - step.tokens;
    return tokens == 0 ? "" : fmt::format("  {} left", report::Seconds(static_cast<double>(tokens) / rate));
  }

  void Say(const std::string& text) const {
    if (first()) std::fputs(text.c_str(), stderr);
  }

  base::Status Log(const train::Trainer& trainer, const train::StepReport& step, const Window& window) {
    const double rate = static_cast<double>(window.tokens) / window.seconds;
    const double mfu = peak_ > 0.0 ? window.flops / window.seconds / peak_ : 0.0;
    if (!live_)
      Say(fmt::format("step {}/{}  loss {:.4f}  lr {:.2e}  norm {:.2f}  {} tok/s  {:.2f} of peak{}\n",
                      step.step, trainer.steps(), step.losses.total, step.learning_rate, step.gradient_norm,
                      report::Grouped(std::llround(rate)), mfu, TimeLeft(trainer, step, rate)));
    return log_->Step(step, {rate, mfu, ResidentBytes()});
  }

  base::Status Evaluate(train::Trainer& trainer) {
    FT_ASSIGN_OR_RETURN(held_out_, trainer.EvaluateHeldOut());
    evaluated_ = trainer.step();
    if (first() && !trainer.config().recall.empty()) return EvaluateRecall(trainer);
    if (!first() || held_out_.documents == 0) return base::OkStatus();
    progress_.Finish();
    Say(fmt::format("step {}/{}  held out: {:.4f} bits a byte over {} documents of {} tokens\n",
                    trainer.step(), trainer.steps(), held_out_.bits_per_byte(),
                    report::Grouped(held_out_.documents), report::Grouped(held_out_.tokens)));
    return log_->HeldOut(trainer.step(), trainer.tokens(), held_out_);
  }

  base::Status EvaluateRecall(const train::Trainer& trainer) {
    const train::RunConfig& config = trainer.config();
    FT_ASSIGN_OR_RETURN(const data::RecallTask task, data::RecallTask::Make(config.recall[0], config.seed));
    ops::Context context(pool_, table_);
    FT_ASSIGN_OR_RETURN(recall_,
                        train::EvaluateRecall(context, trainer.model(), task, config.evaluate_tokens));
    progress_.Finish();
    Say(fmt::format("step {}/{}  recall accuracy {:.4f} of {} answers; by chance {:.4f}\n", trainer.step(),
                    trainer.steps(), recall_.accuracy(), report::Grouped(recall_.asked),
                    1.0 / config.recall[0].pairs));
    return log_->Recall(trainer.step(), trainer.tokens(), recall_);
  }

  base::Status Plot() const {
    if (!first()) return base::OkStatus();
    FT_ASSIGN_OR_RETURN(const std::vector<std::string> paths, report::PlotRun(*plot_));
    std::string text;
    for (const std::string& path : paths) text += path + "\n";
    return WriteOutput(text);
  }

  base::Status Tell(const train::Trainer& trainer, const std::string& run, const std::string& saved,
                    int64_t steps, double seconds) const {
    if (!first()) return base::OkStatus();
    const std::optional<train::BestSnapshot> best = train::FindBestSnapshot(run);
    if (json_) {
      report::Json json;
      json.BeginObject().Key("checkpoint").Text(saved).Key("step").Integer(trainer.step());
      json.Key("done").Bool(trainer.done()).Key("seconds").Number(seconds);
      if (evaluated_ == trainer.step() && held_out_.documents > 0)
        json.Key("held_out_bits_per_byte").Number(held_out_.bits_per_byte());
      if (recall_.asked > 0) json.Key("recall_accuracy").Number(recall_.accuracy());
      if (best) {
        json.Key("best").BeginObject().Key("checkpoint").Text(train::SnapshotPath(run, best->step));
        json.Key("held_out_bits_per_byte").Number(best->bits_per_byte).EndObject();
      }
      json.EndObject();
      return WriteOutput(json.text() + "\n");
    }
    std::string text;
    if (steps == 0) {
      text = fmt::format("all {} steps were done already: {}\n", trainer.steps(), saved);
    } else if (trainer.done()) {
      text = fmt::format("trained in {}: {}\n", report::Seconds(seconds), saved);
    } else {
      text = fmt::format("stopped after step {} of {}: {}\n", trainer.step(), trainer.steps(), saved);
    }
    if (best && best->step != trainer.step())
      text += fmt::format("the best on held-out documents, {:.4f} bits a byte: {}\n", best->bits_per_byte,
                          train::SnapshotPath(run, best->step));
    if (!trainer.done()) {
      text += fmt::format("go on with: fusiontree train {} -o {} --resume", Quoted(config_), Quoted(run));
      if (isa_ != "auto") text += " --isa " + isa_;
      text += "\n";
    }
    return WriteOutput(text);
  }

  static double ResidentBytes() {
    std::FILE* file = std::fopen("/proc/self/statm", "r");
    long all = 0, resident = 0;
    const bool read = file != nullptr && std::fscanf(file, "%ld %ld", &all, &resident) == 2;
    if (file != nullptr) std::fclose(file);
    return read ? static_cast<double>(resident) * static_cast<double>(::getpagesize()) : 0.0;
  }

  std::string config_, isa_ = "auto";
  std::vector<std::string> configs_;
  std::optional<std::string> run_, plot_;
  std::optional<TrainLog> log_;
  bool started_ = false, resume_ = false, allow_changes_ = false, dry_run_ = false, json_ = false;
  int64_t threads_ = 0, stop_after_ = 0, evaluated_ = -1;
  parallel::Communicator* ranks_ = nullptr;
  double peak_ = 0.0;
  train::HeldOut held_out_;
  train::RecallScore recall_;
  base::ThreadPool* pool_ = nullptr;
  const kernels::Table* table_ = nullptr;
  Window window_;
  const bool live_ = base::StderrRedraws();  // one line is redrawn; else lines are printed
  base::Progress progress_{"training", live_};
};

}  // namespace

std::unique_ptr<Command> NewTrain() { return std::make_unique<Train>(); }

}  // namespace fusiontree::cli
