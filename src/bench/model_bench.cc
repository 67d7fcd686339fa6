#include "bench/model_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "cache/batch.h"

namespace fusiontree::bench {
namespace {

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

// Ids without a pattern that a model could know; any will do, because the work does not depend on them.
std::vector<int32_t> Ids(int64_t count, int64_t vocab_size, int64_t salt) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  uint64_t state = 0x9E3779B97F4A7C15u * static_cast<uint64_t>(salt + 1);
  for (int32_t& id : ids) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    id = static_cast<int32_t>((state >> 33) % static_cast<uint64_t>(vocab_size));
  }
  return ids;
}

// Sequences with their cache, advanced together.
class Runner {
 public:
  Runner(ops::Context& context, const models::Model& model, size_t cache_bytes)
      : context_(context), model_(model), pool_(model.cache_layout(), cache_bytes) {}

  void Start(int64_t sequences) {
    states_.clear();
    for (int64_t i = 0; i < sequences; ++i) states_.push_back(model_.NewSequence(&pool_));
  }

  // One forward that gives sequence s the tokens tokens[s]; head for each sequence's last row. The largest
  // logit of each becomes next()[s].
  base::Status Step(const std::vector<std::vector<int32_t>>& tokens, bool head) {
    cache::Batch batch;
    rows_.clear();
    for (size_t s = 0; s < states_.size(); ++s) {
      FT_RETURN_IF_ERROR(
          batch.Add(states_[s].get(), tokens[s].data(), static_cast<int64_t>(tokens[s].size())));
      rows_.push_back(batch.rows() - 1);
    }
    hidden_.resize(static_cast<size_t>(batch.rows() * model_.hidden_stride()));
    ok_.resize(static_cast<size_t>(batch.rows()));
    model_.Forward(context_, batch, hidden_.data(), ok_.data());
    FT_RETURN_IF_ERROR(model_.status());
    if (!head) return base::OkStatus();
    const int64_t count = static_cast<int64_t>(rows_.size());
    logits_.resize(static_cast<size_t>(count * model_.logits_stride()));
    model_.Head(context_, hidden_.data(), rows_.data(), count, logits_.data());
    FT_RETURN_IF_ERROR(model_.status());
    next_.assign(states_.size(), {});
    for (size_t s = 0; s < states_.size(); ++s) {
      const float* row = logits_.data() + static_cast<int64_t>(s) * model_.logits_stride();
      next_[s] = {static_cast<int32_t>(context_.kernels().argmax(row, model_.config().vocab_size))};
    }
    return base::OkStatus();
  }

  // Prompts of one length, in chunks; the last chunk ends with the head.
  base::Status Prefill(const std::vector<std::vector<int32_t>>& prompts, int64_t chunk) {
    const int64_t length = static_cast<int64_t>(prompts.front().size());
    for (int64_t begin = 0; begin < length; begin += chunk) {
      const int64_t end = std::min(begin + chunk, length);
      std::vector<std::vector<int32_t>> part;
      for (const std::vector<int32_t>& prompt : prompts)
        part.emplace_back(prompt.begin() + begin, prompt.begin() + end);
      FT_RETURN_IF_ERROR(Step(part, end == length));
    }
    return base::OkStatus();
  }

  const std::vector<std::vector<int32_t>>& next() const { return next_; }

 private:
  ops::Context& context_;
  const models::Model& model_;
  cache::BlockPool pool_;
  std::vector<std::unique_ptr<cache::SequenceState>> states_;
  std::vector<int64_t> rows_;
  std::vector<float> hidden_, logits_;
  std::vector<uint8_t> ok_;
  std::vector<std::vector<int32_t>> next_;
};

// What the ranks said to each other in each repetition: the median.
class TrafficLog {
 public:
  explicit TrafficLog(const ops::Context& context) : context_(context), last_(Now()) {}
  void Add() {
    const parallel::Traffic now = Now();
    operations_ = now.operations - last_.operations;
    bytes_ = now.bytes - last_.bytes;
    seconds_.push_back(now.seconds - last_.seconds);
    last_ = now;
  }
  parallel::Traffic Each() const { return {operations_, bytes_, Median(seconds_)}; }

 private:
  parallel::Traffic Now() const {
    return context_.ranks() == 1 ? parallel::Traffic() : context_.communicator().traffic();
  }
  const ops::Context& context_;
  parallel::Traffic last_;
  int64_t operations_ = 0, bytes_ = 0;  // the same in each
  std::vector<double> seconds_;
};

bool Bf16Products(const models::Model& model) { return model.TypeName() == "bf16"; }

double PrefillFlops(const models::Model& model, int64_t tokens) {
  double flops = model.HeadFlops();
  for (int64_t t = 1; t <= tokens; ++t) flops += model.FlopsPerToken(t);
  return flops;
}

base::Result<Measurement> MeasurePrefill(ops::Context& context, const models::Model& model, const Plan& plan,
                                         int64_t tokens) {
  Runner runner(context, model, 2 * model.cache_layout().SequenceBytes(tokens));
  const std::vector<std::vector<int32_t>> prompt = {Ids(tokens, model.config().vocab_size, tokens)};
  std::vector<double> times;
  TrafficLog traffic(context);
  const double begin = Now();
  while (times.size() < 3 || Now() - begin < plan.seconds) {
    runner.Start(1);
    const double start = Now();
    FT_RETURN_IF_ERROR(runner.Prefill(prompt, plan.chunk));
    times.push_back(Now() - start);
    traffic.Add();
  }
  // The first run pays for memory that the later ones find there.
  times.erase(times.begin());
  Measurement m{.what = fmt::format("prefill {}", tokens),
                .seconds = Median(times),
                .best_seconds = *std::min_element(times.begin(), times.end())};
  m.tokens = static_cast<double>(tokens);
  m.traffic = traffic.Each();
  m.flops = PrefillFlops(model, tokens);
  return m;
}

base::Result<Measurement> MeasureDecode(ops::Context& context, const models::Model& model, const Plan& plan,
                                        int64_t batch, int64_t before, const std::string& what) {
  constexpr int64_t kSteps = 16;  // at least
  constexpr int64_t kMostSteps = 256;
  const int64_t longest = std::min(model.config().max_positions, before + kMostSteps);
  const int64_t prompt = std::max<int64_t>(1, std::min(before, longest - kSteps));
  const size_t sequence_bytes = model.cache_layout().SequenceBytes(longest);
  Runner runner(context, model, 2 * static_cast<size_t>(batch) * sequence_bytes);
  runner.Start(batch);
  std::vector<std::vector<int32_t>> prompts;
  for (int64_t s = 0; s < batch; ++s) prompts.push_back(Ids(prompt, model.config().vocab_size, s));
  FT_RETURN_IF_ERROR(runner.Prefill(prompts, std::max<int64_t>(1, plan.chunk / batch)));
  FT_RETURN_IF_ERROR(runner.Step(std::vector<std::vector<int32_t>>(runner.next()), true));
  std::vector<double> times;
  TrafficLog traffic(context);
  const double begin = Now();
  for (int64_t position = prompt + 1; position < longest; ++position) {
    const int64_t done = static_cast<int64_t>(times.size());
    if (done >= kSteps && Now() - begin >= plan.seconds) break;
    const std::vector<std::vector<int32_t>> next = runner.next();
    const double start = Now();
    FT_RETURN_IF_ERROR(runner.Step(next, true));
    times.push_back(Now() - start);
    traffic.Add();
  }
  if (times.empty()) return base::BadInput("the model's context of {} is too short to decode", longest);
  Measurement m{
      .what = what, .seconds = Median(times), .best_seconds = *std::min_element(times.begin(), times.end())};
  m.tokens = static_cast<double>(batch);
  m.traffic = traffic.Each();
  m.flops = m.tokens * (model.FlopsPerToken(prompt) + model.HeadFlops());
  m.bytes = static_cast<double>(model.streamed_bytes()) +
            m.tokens * static_cast<double>(context.ranks()) *
                static_cast<double>(model.cache_layout().ReadBytes(prompt));
  return m;
}

void Judge(double bandwidth, double peak, Measurement* m) {
  m->tokens_per_second = m->tokens / m->seconds;
  const double reading = bandwidth > 0 ? m->bytes / bandwidth : 0, computing = peak > 0 ? m->flops / peak : 0;
  m->bound_by = reading > computing ? "bandwidth" : "arithmetic";
  const double least = std::max(reading, computing);
  m->limit = least > 0 ? m->tokens / least : 0;
}

}  // namespace

base::Result<std::vector<Measurement>> MeasureModel(ops::Context& context, const models::Model& model,
                                                    const Plan& plan, Limits* limits) {
  std::vector<Measurement> results;
  const double all = static_cast<double>(plan.prefills.size() + plan.batches.size() + plan.contexts.size());
  double done = 0;
  const auto add = [&](base::Result<Measurement> measured) -> base::Status {
    if (!measured.ok()) return measured.status();
    results.push_back(std::move(*measured));
    FT_ASSIGN_OR_RETURN(const Limits again, plan.measure_limits());
    limits->Raise(again);
    if (plan.progress) plan.progress(++done / all);
    return base::OkStatus();
  };
  for (const int64_t tokens : plan.prefills) {
    if (tokens > model.config().max_positions) {
      ++done;
      continue;
    }
    FT_RETURN_IF_ERROR(add(MeasurePrefill(context, model, plan, tokens)));
  }
  for (const int64_t batch : plan.batches)
    FT_RETURN_IF_ERROR(add(
        MeasureDecode(context, model, plan, batch, plan.decode_prompt, fmt::format("decode x{}", batch))));
  for (const int64_t before : plan.contexts) {
    if (before >= model.config().max_positions)
      return base::BadInput("a context of {} tokens is more than the model's {}", before,
                            model.config().max_positions);
    FT_RETURN_IF_ERROR(
        add(MeasureDecode(context, model, plan, 1, before, fmt::format("decode at {}", before))));
  }
  const double peak = limits->FlopsFor(context.kernels().name, Bf16Products(model));
  for (Measurement& m : results) Judge(limits->bandwidth, peak, &m);
  return results;
}

}  // namespace fusiontree::bench
