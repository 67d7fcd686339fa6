// generate: continues one prompt as a stream, or many of a file in one ragged batch.
#include <fmt/format.h>

#include <cstdio>

#include "base/progress.h"
#include "cli/command.h"
#include "cli/files.h"
#include "cli/interrupt.h"
#include "cli/prompts.h"
#include "cli/text_model.h"
#include "engine/text_stream.h"
#include "report/json.h"

namespace fusiontree::cli {
namespace {

constexpr int64_t kDefaultMaxTokens = 256;

// One prompt on its way: its text grows while the engine steps.
struct Job {
  PromptLine line;
  std::vector<int32_t> ids;
  std::unique_ptr<engine::TextStream> stream;
  std::string text;
  int64_t generated = 0;
  bool done = false;
  engine::Completion completion;

  std::string Reason() const {
    if (stream->stopped()) return "stop";
    if (!done) return "cancelled";
    switch (completion.reason) {
      case engine::FinishReason::kStop:
        return "stop";
      case engine::FinishReason::kLength:
        return "length";
      case engine::FinishReason::kCancelled:
        return "cancelled";
      case engine::FinishReason::kFailed:
        return "failed";
    }
    return "failed";
  }
};

class Generate : public Command {
 public:
  std::string Name() const override { return "generate"; }
  std::string Summary() const override { return "continue a text; many texts from a file go in one batch"; }
  std::string Example() const override {
    return "  fusiontree generate models/SmolLM2-135M-Instruct.Q4_1.gguf -p \"Once upon a time\" "
           "--max-tokens 60\n"
           "  fusiontree generate MODEL --prompts prompts.jsonl --temperature 0.8 --seed 7 > results.jsonl";
  }

  void Declare(Options& options) override {
    model_.Declare(options);
    options.Text("-p,--prompt", "TEXT", "the text to continue (without it and the next two: standard input)",
                 &prompt_);
    options.Text("-f,--file", "FILE", "continue the text in this file", &file_);
    options.Text("--prompts", "FILE",
                 "JSON lines {\"prompt\": TEXT}, each with an \"id\" and options of its own; "
                 "results as JSON lines in the same order",
                 &prompts_);
    flags_.Declare(options);
    options.Flag("--echo", "write the prompt before its continuation", &echo_);
    options.Flag("--json", "the result as JSON instead of the bare text", &json_);
  }

  void UseRanks(parallel::Communicator* communicator) override { model_.communicator = communicator; }

  base::Status Run() override {
    FT_ASSIGN_OR_RETURN(std::vector<PromptLine> lines, ReadPrompts());
    FT_ASSIGN_OR_RETURN(TextModel model, TextModel::Open(model_));
    for (size_t i = 0; i < lines.size(); ++i) {
      auto job = MakeJob(model, std::move(lines[i]));
      if (!job.ok()) return prompts_ ? job.status().WithContext(fmt::format("prompt {}", i)) : job.status();
      jobs_.push_back(std::move(job).value());
    }
    FT_RETURN_IF_ERROR(model.Load());
    if (echo_ && !prompts_ && !json_) FT_RETURN_IF_ERROR(WriteOutput(jobs_.front()->line.text));
    for (size_t i = 0; i < jobs_.size(); ++i) {
      const base::Status submitted = Submit(model, jobs_[i].get());
      if (!submitted.ok()) return prompts_ ? submitted.WithContext(fmt::format("prompt {}", i)) : submitted;
    }
    return prompts_ ? RunMany(model) : RunOne(model);
  }

 private:
  base::Result<std::vector<PromptLine>> ReadPrompts() const {
    if (prompt_.has_value() + file_.has_value() + prompts_.has_value() > 1)
      return base::BadInput("--prompt, --file and --prompts exclude each other");
    FT_RETURN_IF_ERROR(engine::StopStrings::Check(flags_.stop));
    if (prompts_) {
      FT_ASSIGN_OR_RETURN(const std::string text, ReadInput(*prompts_));
      auto lines = ParsePrompts(text, flags_);
      if (!lines.ok()) return lines.status().WithContext(*prompts_);
      return lines;
    }
    PromptLine line{.text = prompt_.value_or(""), .id_json = "", .flags = flags_};
    if (!prompt_) {
      FT_ASSIGN_OR_RETURN(line.text, ReadInput(file_.value_or("-")));
    }
    return std::vector<PromptLine>{std::move(line)};
  }

  static base::Result<std::unique_ptr<Job>> MakeJob(const TextModel& model, PromptLine line) {
    auto job = std::make_unique<Job>();
    FT_RETURN_IF_ERROR(engine::StopStrings::Check(line.flags.stop));
    FT_ASSIGN_OR_RETURN(job->ids, model.tokenizer().Encode(line.text));
    if (job->ids.empty())
      return base::BadInput(
          "the prompt is empty, and this model's tokenizer begins a text with no token of its own");
    job->stream = std::make_unique<engine::TextStream>(model.tokenizer(), job->ids, line.flags.stop);
    job->line = std::move(line);
    return job;
  }

  base::Status Submit(TextModel& model, Job* job) {
    engine::Request request;
    request.prompt = job->ids;
    request.sampling = ResolveSampling(job->line.flags, model.defaults());
    request.max_tokens = job->line.flags.max_tokens.value_or(kDefaultMaxTokens);
    request.stop_ids = model.StopIds();
    const bool streams = !prompts_ && !json_;
    request.on_token = [job, streams](int32_t id) {
      const std::string piece = job->stream->Push(id);
      ++job->generated;
      job->text += piece;
      // A closed pipe ends the generation; the complaint comes from the last write.
      const bool written = !streams || WriteOutput(piece).ok();
      return written && !job->stream->stopped() && !InterruptScope::requested();
    };
    request.on_done = [job](const engine::Completion& completion) {
      job->completion = completion;
      job->done = true;
    };
    return model.engine().Submit(std::move(request));
  }

  base::Status RunOne(TextModel& model) {
    Job& job = *jobs_.front();
    InterruptScope interrupt;
    while (!InterruptScope::requested() && model.engine().Step()) {
    }
    const std::string rest = job.stream->Finish();
    job.text += rest;
    if (job.done && job.completion.reason == engine::FinishReason::kFailed) {
      if (!json_) FT_RETURN_IF_ERROR(WriteOutput(rest + "\n"));
      return job.completion.status;
    }
    FT_RETURN_IF_ERROR(WriteOutput(json_ ? ResultJson(job, std::nullopt) + "\n" : rest + "\n"));
    ReportSpeed(model, Describe(ResolveSampling(job.line.flags, model.defaults())));
    if (InterruptScope::requested()) return base::Status(base::ErrorKind::kCancelled, "stopped by Ctrl-C");
    return base::OkStatus();
  }

  base::Status RunMany(TextModel& model) {
    InterruptScope interrupt;
    base::Progress progress("generating");
    size_t written = 0, failed = 0;
    const auto write_finished = [&](bool all) -> base::Status {
      for (; written < jobs_.size() && (all || jobs_[written]->done); ++written) {
        Job& job = *jobs_[written];
        job.text += job.stream->Finish();
        failed += job.Reason() == "failed";
        progress.Finish();
        FT_RETURN_IF_ERROR(WriteOutput(ResultJson(job, written) + "\n"));
      }
      return base::OkStatus();
    };
    while (!InterruptScope::requested() && model.engine().Step()) {
      FT_RETURN_IF_ERROR(write_finished(false));
      size_t done = 0;
      for (const auto& job : jobs_) done += job->done;
      progress.Update(static_cast<double>(done) / static_cast<double>(jobs_.size()));
    }
    FT_RETURN_IF_ERROR(write_finished(true));
    progress.Finish();
    ReportSpeed(model, fmt::format("{} prompts", jobs_.size()));
    if (InterruptScope::requested()) return base::Status(base::ErrorKind::kCancelled, "stopped by Ctrl-C");
    if (failed > 0) return base::Failed("{} of {} prompts failed", failed, jobs_.size());
    return base::OkStatus();
  }

  static std::string ResultJson(const Job& job, std::optional<size_t> index) {
    report::Json json(0);
    json.BeginObject();
    if (index) json.Key("index").Integer(static_cast<int64_t>(*index));
    if (!job.line.id_json.empty()) json.Key("id").Raw(job.line.id_json);
    json.Key("text").Text(job.text).Key("finish_reason").Text(job.Reason());
    json.Key("prompt_tokens").Integer(static_cast<int64_t>(job.ids.size()));
    json.Key("completion_tokens").Integer(job.generated);
    if (job.Reason() == "failed") json.Key("error").Text(job.completion.status.message());
    return json.EndObject().text();
  }

  static void ReportSpeed(TextModel& model, const std::string& what) {
    const engine::Stats& stats = model.engine().stats();
    std::fprintf(
        stderr, "prompt %lld tokens at %s tok/s, written %lld at %s tok/s; loaded in %.2f s; %s; %s\n",
        static_cast<long long>(stats.prefill_tokens),
        Rate(stats.prefill_tokens, stats.prefill_seconds).c_str(),
        static_cast<long long>(stats.decode_tokens), Rate(stats.decode_tokens, stats.decode_seconds).c_str(),
        model.load_seconds(), what.c_str(), model.Describe().c_str());
  }

  ModelFlags model_;
  SamplingFlags flags_;
  std::optional<std::string> prompt_, file_, prompts_;
  bool echo_ = false, json_ = false;
  std::vector<std::unique_ptr<Job>> jobs_;
};

}  // namespace

std::unique_ptr<Command> NewGenerate() { return std::make_unique<Generate>(); }

}  // namespace fusiontree::cli
