// The step loop: a first-come queue, reservations instead of preemption, and one forward a step over a ragged
// batch of decode rows and prefill chunks.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <fstream>
#include <map>
#include <optional>

#include "base/policy.h"
#include "checkpoint/checkpoint.h"
#include "engine/api.h"
#include "engine/finite.h"
#include "engine/sampler.h"
#include "engine/setup.h"
#include "models/model.h"

namespace fusiontree::engine {
namespace {

struct Session {
  std::unique_ptr<cache::SequenceState> state;
  std::vector<int32_t> tokens;  // whose keys and values the state holds: tokens.size() == state->length()
  bool busy = false;
  int64_t last_used = 0;
};

struct Active {
  Request request;
  std::unique_ptr<cache::SequenceState> state;
  std::vector<int32_t> history;  // prompt, then generated tokens
  Completion completion;
  size_t reserved = 0;  // bytes of cache it may grow to
  bool done = false;

  int64_t pending() const { return static_cast<int64_t>(history.size()) - state->length(); }
  bool prefilling() const { return completion.tokens.empty(); }
};

class StepEngine : public Engine {
 public:
  StepEngine(std::unique_ptr<Runtime> runtime, const EngineOptions& options)
      : runtime_(std::move(runtime)),
        chunk_(options.chunk),
        max_sequences_(options.max_sequences),
        pool_(model().cache_layout(), options.cache_bytes) {
    const models::Config& config = model().config();
    summary_.family = config.family;
    summary_.isa = runtime_->context->kernels().name;
    summary_.dtype = model().TypeName();
    summary_.kv = model().CacheTypeName();
    summary_.threads = runtime_->pool->size();
    summary_.vocab_size = config.vocab_size;
    summary_.max_positions = config.max_positions;
    for (int64_t id : config.eos_ids) summary_.eos_ids.push_back(static_cast<int32_t>(id));
    summary_.weight_bytes = model().weight_bytes();
    summary_.cache_bytes = options.cache_bytes;
    summary_.fingerprint = runtime_->policy.Fingerprint();
  }

  const ModelSummary& summary() const override { return summary_; }
  const Stats& stats() const override { return stats_; }

  base::Status Submit(Request request) override {
    FT_RETURN_IF_ERROR(CheckSampling(request.sampling));
    const int64_t length = static_cast<int64_t>(request.prompt.size()), context = summary_.max_positions;
    if (length == 0) return base::BadInput("the prompt is empty: at least one token is needed");
    if (length >= context)
      return base::BadInput(
          "the prompt has {} tokens, but the model's context is {} and one must be left to generate", length,
          context);
    if (request.max_tokens < 1) return base::BadInput("max_tokens {} must be at least 1", request.max_tokens);
    for (int32_t id : request.prompt)
      if (id < 0 || id >= summary_.vocab_size)
        return base::BadInput("token id {} is outside the vocabulary of {}", id, summary_.vocab_size);
    if (Need(request) > pool_.max_bytes())
      return base::BadInput(
          "{} prompt tokens and {} to generate need {} bytes of key/value cache, but it has {}", length,
          request.max_tokens, Need(request), pool_.max_bytes());
    waiting_.push_back(std::move(request));
    return base::OkStatus();
  }

  bool Step() override {
    Admit();
    if (active_.empty()) return false;
    const auto start = std::chrono::steady_clock::now();
    cache::Batch batch;
    std::vector<Active*> members;  // of the batch, a span each
    Fill(&batch, &members);
    bool prefill = false;
    for (size_t i = 0; i < members.size(); ++i) {
      const bool first = members[i]->prefilling();
      prefill = prefill || first;
      (first ? stats_.prefill_tokens : stats_.decode_tokens) += batch.spans[i].count;
    }
    Run(batch, members);
    (prefill ? stats_.prefill_seconds : stats_.decode_seconds) +=
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    ++stats_.steps;
    Retire();
    return true;
  }

  void EndSession(int64_t id) override {
    auto it = sessions_.find(id);
    if (it != sessions_.end() && !it->second.busy) sessions_.erase(it);
  }

 private:
  models::Model& model() const { return *runtime_->model; }

  // Cache bytes that a request may grow to.
  size_t Need(const Request& request) const {
    const int64_t length = static_cast<int64_t>(request.prompt.size());
    const int64_t most =
        std::min(length + std::min(request.max_tokens, summary_.max_positions), summary_.max_positions);
    return model().cache_layout().SequenceBytes(most, chunk_);
  }

  size_t Reserved() const {
    size_t bytes = 0;
    for (const auto& active : active_) bytes += active->reserved;
    for (const auto& [id, session] : sessions_)
      if (!session.busy) bytes += model().cache_layout().SequenceBytes(session.state->length(), chunk_);
    return bytes;
  }
  // Drops idle sessions, the longest unused first, until `bytes` more fit; `keep` is not dropped.
  bool MakeRoom(size_t bytes, int64_t keep) {
    while (Reserved() + bytes > pool_.max_bytes()) {
      auto oldest = sessions_.end();
      for (auto it = sessions_.begin(); it != sessions_.end(); ++it)
        if (!it->second.busy && it->first != keep &&
            (oldest == sessions_.end() || it->second.last_used < oldest->second.last_used))
          oldest = it;
      if (oldest == sessions_.end()) return false;
      sessions_.erase(oldest);
    }
    return true;
  }

  void Admit() {
    for (auto it = waiting_.begin();
         it != waiting_.end() && static_cast<int64_t>(active_.size()) < max_sequences_;) {
      const int64_t id = it->session;
      if (id >= 0 && sessions_.count(id) && sessions_[id].busy) {
        ++it;  // one request of a session at a time
        continue;
      }
      auto active = std::make_unique<Active>();
      active->reserved = Need(*it);
      if (id >= 0 && sessions_.count(id)) {  // its own cache is part of what it needs
        active->state = std::move(sessions_[id].state);
        active->history = std::move(sessions_[id].tokens);
        sessions_.erase(id);
      }
      if (!MakeRoom(active->reserved, id)) {
        if (active->state) {  // back to where it was, and wait
          sessions_[id].tokens = std::move(active->history);
          sessions_[id].state = std::move(active->state);
        }
        return;  // first come, first served
      }
      Start(std::move(*it), std::move(active));
      it = waiting_.erase(it);
    }
  }

  void Start(Request request, std::unique_ptr<Active> active) {
    if (!active->state) active->state = model().NewSequence(&pool_);
    // The last prompt token always runs: its logits are wanted.
    const auto& before = active->history;
    int64_t common = 0;
    const int64_t most = std::min<int64_t>(static_cast<int64_t>(before.size()),
                                           static_cast<int64_t>(request.prompt.size()) - 1);
    while (common < most &&
           before[static_cast<size_t>(common)] == request.prompt[static_cast<size_t>(common)])
      ++common;
    active->completion.reused_tokens = active->state->Truncate(common);
    active->completion.prompt_tokens = static_cast<int64_t>(request.prompt.size());
    active->history = request.prompt;
    if (request.session >= 0) sessions_[request.session].busy = true;
    active->request = std::move(request);
    active_.push_back(std::move(active));
  }

  // Decode rows of everybody, then prefill chunks in order of arrival up to chunk_ tokens.
  void Fill(cache::Batch* batch, std::vector<Active*>* members) {
    int64_t budget = chunk_;
    for (bool prefill : {false, true}) {
      for (auto& active : active_) {
        if (active->prefilling() != prefill) continue;
        const int64_t count = prefill ? std::min(active->pending(), budget) : active->pending();
        if (count == 0) continue;
        const base::Status added =
            batch->Add(active->state.get(), active->history.data() + active->state->length(), count);
        if (!added.ok()) {  // reservations make this impossible while memory lasts
          Finish(active.get(), FinishReason::kFailed, added);
          continue;
        }
        members->push_back(active.get());
        if (prefill) budget -= count;
      }
    }
  }

  void Run(const cache::Batch& batch, const std::vector<Active*>& members) {
    if (batch.rows() == 0) return;
    ops::Context& context = *runtime_->context;
    std::vector<float> hidden(static_cast<size_t>(batch.rows() * model().hidden_stride()));
    std::vector<uint8_t> row_ok(static_cast<size_t>(batch.rows()));
    model().Forward(context, batch, hidden.data(), row_ok.data());
    if (!model().status().ok()) return FailAll(members);
    std::vector<int64_t> rows;
    std::vector<Active*> sampled;
    for (size_t i = 0; i < members.size(); ++i) {
      const cache::Span& span = batch.spans[i];
      const bool ok =
          std::count(row_ok.begin() + span.first_row, row_ok.begin() + span.first_row + span.count, 0) == 0;
      if (!ok) {
        members[i]->completion.reason = FinishReason::kFailed;
      } else if (members[i]->pending() == 0) {
        rows.push_back(span.first_row + span.count - 1);
        sampled.push_back(members[i]);
        // A session's next prompt goes on from here when its reply is written with other tokens.
        if (members[i]->prefilling() && members[i]->request.session >= 0) members[i]->state->Mark();
      }
    }
    const int64_t stride = model().logits_stride(), vocab = summary_.vocab_size;
    std::vector<float>& logits = logits_;
    logits.resize(static_cast<size_t>(stride) * rows.size());
    model().Head(context, hidden.data(), rows.data(), static_cast<int64_t>(rows.size()), logits.data());
    if (!model().status().ok()) return FailAll(members);
    std::vector<int32_t> tokens(rows.size(), -1);
    context.For(static_cast<int64_t>(rows.size()), 1, 2, [&](int, base::Range share) {
      for (int64_t i = share.begin; i < share.end; ++i) {
        const Active& a = *sampled[static_cast<size_t>(i)];
        float* row = logits.data() + i * stride;
        if (!context.kernels().all_finite(row, vocab)) continue;
        tokens[static_cast<size_t>(i)] =
            SampleToken(context.kernels(), a.request.sampling, a.request.choice,
                        static_cast<int64_t>(a.history.size()), a.history, row, vocab);
      }
    });
    for (size_t i = 0; i < sampled.size(); ++i) {
      if (tokens[i] < 0) {
        sampled[i]->completion.reason = FinishReason::kFailed;
      } else {
        Accept(sampled[i], tokens[i]);
      }
    }
    for (Active* member : members)
      if (member->completion.reason == FinishReason::kFailed && !member->done)
        Finish(member, FinishReason::kFailed,
               NameNonFinite(context, model(), member->state.get(), member->history.data(),
                             member->state->length()));
  }

  void FailAll(const std::vector<Active*>& members) {
    for (Active* member : members) Finish(member, FinishReason::kFailed, model().status());
  }

  void Accept(Active* active, int32_t token) {
    const Request& r = active->request;
    if (std::find(r.stop_ids.begin(), r.stop_ids.end(), token) != r.stop_ids.end())
      return Finish(active, FinishReason::kStop, base::OkStatus());
    active->history.push_back(token);
    active->completion.tokens.push_back(token);
    if (r.on_token && !r.on_token(token)) return Finish(active, FinishReason::kCancelled, base::OkStatus());
    if (static_cast<int64_t>(active->completion.tokens.size()) >= r.max_tokens ||
        static_cast<int64_t>(active->history.size()) >= summary_.max_positions)
      Finish(active, FinishReason::kLength, base::OkStatus());
  }

  void Finish(Active* active, FinishReason reason, base::Status status) {
    active->completion.reason = reason;
    active->completion.status = std::move(status);
    active->done = true;
  }

  void Retire() {
    for (auto& active : active_) {
      if (!active->done) continue;
      const int64_t id = active->request.session;
      if (id >= 0) {
        sessions_.erase(id);
        if (active->completion.reason != FinishReason::kFailed) {
          Session& session = sessions_[id];
          active->history.resize(static_cast<size_t>(active->state->length()));
          session.tokens = std::move(active->history);
          session.state = std::move(active->state);
          session.last_used = ++clock_;
        }
      }
      if (active->request.on_done) active->request.on_done(active->completion);
    }
    std::erase_if(active_, [](const auto& active) { return active->done; });
    FT_CHECK(pool_.bytes_live() <= pool_.max_bytes());
  }

  std::unique_ptr<Runtime> runtime_;
  int64_t chunk_, max_sequences_;
  cache::BlockPool pool_;
  ModelSummary summary_;
  Stats stats_;
  std::deque<Request> waiting_;
  std::vector<std::unique_ptr<Active>> active_;
  std::map<int64_t, Session> sessions_;
  std::vector<float> logits_;
  int64_t clock_ = 0;
};

// Memory that can be taken without swapping, as the kernel estimates it.
size_t AvailableMemory() {
  std::ifstream in("/proc/meminfo");
  std::string key;
  size_t value;
  std::string unit;
  while (in >> key >> value >> unit)
    if (key == "MemAvailable:") return value * 1024;
  return size_t{1} << 30;
}

}  // namespace

base::Result<std::unique_ptr<Engine>> Engine::Load(const std::string& model_path,
                                                   const EngineOptions& given) {
  EngineOptions options = given;
  if (options.chunk < 1 || options.chunk > 1 << 20)
    return base::BadInput("a prefill chunk of {} tokens is out of range (1 to 1048576)", options.chunk);
  if (options.max_sequences < 1)
    return base::BadInput("max_sequences {} must be at least 1", options.max_sequences);
  FT_ASSIGN_OR_RETURN(std::unique_ptr<Runtime> runtime, MakeRuntime(model_path, options));
  if (options.cache_bytes == 0) {
    // The other ranks may be on this machine, and each holds as many pages.
    const int ranks = options.communicator ? options.communicator->size() : 1;
    options.cache_bytes = AvailableMemory() / 2 / static_cast<size_t>(ranks);
  }
  return std::unique_ptr<Engine>(std::make_unique<StepEngine>(std::move(runtime), options));
}

}  // namespace fusiontree::engine
