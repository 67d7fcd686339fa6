#include "models/distributed.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/check.h"
#include "parallel/record.h"

namespace fusiontree::models {
namespace {

using parallel::RecordKind;
using parallel::RecordReader;
using parallel::RecordWriter;

// A sequence of rank 0: the others know it by its number.
class Numbered : public cache::SequenceState {
 public:
  Numbered(cache::SequenceState&& state, uint64_t number,
           const std::shared_ptr<std::vector<uint64_t>>& dropped)
      : SequenceState(std::move(state)), number_(number), dropped_(dropped) {}
  ~Numbered() override { dropped_->push_back(number_); }
  uint64_t number() const { return number_; }

 private:
  uint64_t number_;
  std::shared_ptr<std::vector<uint64_t>> dropped_;
};

struct SpanRecord {
  uint64_t sequence;
  int64_t first_position, count;
  int64_t marked;  // position at which rank 0 has marked it, or -1
};

// Of one group of heads, after the extension. A rank has the groups whose heads it has some of.
struct PagesRecord {
  int64_t window, live;
};

std::vector<PagesRecord> LivePages(const cache::SequenceState& state) {
  std::vector<PagesRecord> records;
  const std::vector<cache::CacheLayout::Group>& groups = state.pool().layout().groups;
  for (size_t g = 0; g < groups.size(); ++g) {
    records.push_back({groups[g].window, 0});
    for (const std::byte* page : state.pages(g)) records.back().live += page != nullptr;
  }
  return records;
}

// A row that is not finite on one rank is not finite.
void AgreeOnRows(parallel::Communicator& communicator, int64_t rows, uint8_t* row_ok) {
  const size_t n = static_cast<size_t>(rows);
  std::vector<uint8_t> all(n * static_cast<size_t>(communicator.size()), 1);
  communicator.AllGather(row_ok, n, all.data());
  for (size_t i = 0; i < all.size(); ++i)
    if (!all[i]) row_ok[i % n] = 0;
}

class Distributed : public Model {
 public:
  Distributed(std::unique_ptr<Model> shard, size_t weight_bytes, size_t streamed_bytes, ops::Context& context)
      : shard_(std::move(shard)),
        weight_bytes_(weight_bytes),
        streamed_bytes_(streamed_bytes),
        communicator_(context.communicator()) {}
  ~Distributed() override { parallel::Send(communicator_, RecordKind::kUnload, RecordWriter()); }

  const Config& config() const override { return shard_->config(); }
  const cache::CacheLayout& cache_layout() const override { return shard_->cache_layout(); }
  std::string TypeName() const override { return shard_->TypeName(); }
  std::string CacheTypeName() const override { return shard_->CacheTypeName(); }
  size_t weight_bytes() const override { return weight_bytes_; }
  size_t streamed_bytes() const override { return streamed_bytes_; }
  std::string_view layer_output() const override { return shard_->layer_output(); }
  double FlopsPerToken(int64_t context) const override { return shard_->FlopsPerToken(context); }
  double HeadFlops() const override { return shard_->HeadFlops(); }
  int64_t hidden_stride() const override { return shard_->hidden_stride(); }
  int64_t logits_stride() const override { return shard_->logits_stride(); }
  base::Status status() const override { return communicator_.status(); }

  std::unique_ptr<cache::SequenceState> NewSequence(cache::BlockPool* pool) const override {
    return std::make_unique<Numbered>(std::move(*shard_->NewSequence(pool)), next_++, dropped_);
  }

  void Forward(ops::Context& context, const cache::Batch& batch, float* hidden,
               uint8_t* row_ok) const override {
    std::vector<SpanRecord> spans;
    std::vector<PagesRecord> pages;
    for (const cache::Span& span : batch.spans) {
      spans.push_back({static_cast<const Numbered*>(span.sequence)->number(), span.first_position, span.count,
                       span.sequence->marked()});
      const std::vector<PagesRecord> live = LivePages(*span.sequence);
      pages.insert(pages.end(), live.begin(), live.end());
    }
    RecordWriter record;
    record.Put<uint32_t>(context.probe() != nullptr);
    record.PutAll(dropped_->data(), dropped_->size());
    record.PutAll(spans.data(), spans.size());
    record.PutAll(pages.data(), pages.size());
    record.PutAll(batch.ids.data(), batch.ids.size());
    dropped_->clear();
    parallel::Send(communicator_, RecordKind::kForward, record);
    shard_->Forward(context, batch, hidden, row_ok);
    AgreeOnRows(communicator_, batch.rows(), row_ok);
  }

  void Head(ops::Context& context, const float* hidden, const int64_t* rows, int64_t count,
            float* logits) const override {
    if (count == 0) return;
    const int64_t stride = hidden_stride();
    std::vector<float> chosen(static_cast<size_t>(count * stride));
    std::vector<int64_t> in_order(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      std::copy_n(hidden + rows[i] * stride, stride, chosen.begin() + i * stride);
      in_order[static_cast<size_t>(i)] = i;
    }
    RecordWriter record;
    record.PutAll(chosen.data(), chosen.size());
    parallel::Send(communicator_, RecordKind::kHead, record);
    shard_->Head(context, chosen.data(), in_order.data(), count, logits);
  }

 private:
  std::unique_ptr<Model> shard_;
  size_t weight_bytes_, streamed_bytes_;
  parallel::Communicator& communicator_;
  mutable uint64_t next_ = 0;
  std::shared_ptr<std::vector<uint64_t>> dropped_ =
      std::make_shared<std::vector<uint64_t>>();  // since the last record
};

class IgnoringProbe : public ops::Probe {
  void Observe(int, std::string_view, const float*, int64_t, int64_t, int64_t) override {}
};

class Follower {
 public:
  Follower(const Model& shard, ops::Context& context)
      : shard_(shard), context_(context), pool_(shard.cache_layout(), SIZE_MAX) {}

  base::Status Forward(const std::string& payload) {
    RecordReader record(payload);
    const bool probed = record.Take<uint32_t>() != 0;
    const std::vector<uint64_t> dropped = record.TakeAll<uint64_t>();
    const std::vector<SpanRecord> spans = record.TakeAll<SpanRecord>();
    const std::vector<PagesRecord> pages = record.TakeAll<PagesRecord>();
    const std::vector<int32_t> ids = record.TakeAll<int32_t>();
    FT_RETURN_IF_ERROR(record.Done());
    for (const uint64_t sequence : dropped) states_.erase(sequence);
    cache::Batch batch;
    const size_t groups = spans.empty() ? 0 : pages.size() / spans.size();
    if (groups * spans.size() != pages.size())
      return base::Failed("rank 0 sent {} counts of pages for {} spans", pages.size(), spans.size());
    size_t at = 0;
    const PagesRecord* live = pages.data();
    for (const SpanRecord& span : spans) {
      if (span.count < 1 || static_cast<size_t>(span.count) > ids.size() - at)
        return base::Failed("rank 0 sent a batch of {} tokens whose spans do not cover it", ids.size());
      FT_RETURN_IF_ERROR(Place(span, {live, live + groups}, ids.data() + at, &batch));
      live += groups;
      at += static_cast<size_t>(span.count);
    }
    if (at != ids.size()) return base::Failed("rank 0 sent {} tokens in spans of {}", ids.size(), at);
    std::vector<float> hidden(static_cast<size_t>(batch.rows() * shard_.hidden_stride()));
    std::vector<uint8_t> row_ok(static_cast<size_t>(batch.rows()));
    IgnoringProbe ignoring;
    context_.set_probe(probed ? &ignoring : nullptr);
    shard_.Forward(context_, batch, hidden.data(), row_ok.data());
    AgreeOnRows(context_.communicator(), batch.rows(), row_ok.data());
    return base::OkStatus();
  }

  base::Status Head(const std::string& payload) {
    RecordReader record(payload);
    const std::vector<float> chosen = record.TakeAll<float>();
    FT_RETURN_IF_ERROR(record.Done());
    const int64_t count = static_cast<int64_t>(chosen.size()) / shard_.hidden_stride();
    std::vector<int64_t> rows(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) rows[static_cast<size_t>(i)] = i;
    shard_.Head(context_, chosen.data(), rows.data(), count, nullptr);
    return base::OkStatus();
  }

 private:
  // Brings the sequence to where rank 0 has it, and checks that it is there.
  base::Status Place(const SpanRecord& span, const std::vector<PagesRecord>& expected, const int32_t* ids,
                     cache::Batch* batch) {
    std::unique_ptr<cache::SequenceState>& state = states_[span.sequence];
    if (!state) state = shard_.NewSequence(&pool_);
    if (span.marked == state->length()) state->Mark();  // between the last forward and this one
    if (state->length() > span.first_position) state->Truncate(span.first_position);
    if (state->length() != span.first_position)
      return base::Failed("sequence {} has {} positions here, but {} on rank 0", span.sequence,
                          state->length(), span.first_position);
    FT_RETURN_IF_ERROR(batch->Add(state.get(), ids, span.count));
    for (const PagesRecord& here : LivePages(*state))
      for (const PagesRecord& there : expected)
        if (here.window == there.window && here.live != there.live)
          return base::Failed("sequence {} has {} cache pages here, but {} on rank 0", span.sequence,
                              here.live, there.live);
    return base::OkStatus();
  }

  const Model& shard_;
  ops::Context& context_;
  cache::BlockPool pool_;
  std::map<uint64_t, std::unique_ptr<cache::SequenceState>> states_;
};

}  // namespace

std::unique_ptr<Model> MakeDistributed(std::unique_ptr<Model> shard, size_t weight_bytes,
                                       size_t streamed_bytes, ops::Context& context) {
  return std::make_unique<Distributed>(std::move(shard), weight_bytes, streamed_bytes, context);
}

base::Status FollowModel(const Model& shard, ops::Context& context,
                         const std::function<base::Status(const parallel::Record&)>& other) {
  parallel::Communicator& communicator = context.communicator();
  Follower follower(shard, context);
  for (;;) {
    FT_ASSIGN_OR_RETURN(const parallel::Record record, parallel::Receive(communicator));
    base::Status status;
    switch (record.kind) {
      case RecordKind::kForward:
        status = follower.Forward(record.payload);
        break;
      case RecordKind::kHead:
        status = follower.Head(record.payload);
        break;
      case RecordKind::kUnload:
        return base::OkStatus();
      default:
        status = other(record);
    }
    if (!status.ok()) communicator.Fail(status.WithContext(fmt::format("rank {}", communicator.rank())));
    if (!communicator.status().ok()) return communicator.status();
  }
}

}  // namespace fusiontree::models
