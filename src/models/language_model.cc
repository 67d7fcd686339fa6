#include "models/language_model.h"

#include <algorithm>

#include "base/check.h"
#include "nn/state_view.h"
#include "ops/recompute.h"
#include "ops/regularise.h"

namespace fusiontree::models {

LanguageModel::LanguageModel(const checkpoint::Checkpoint& checkpoint, const Spec& spec,
                             const ModelOptions& options, const kernels::Table& table, Shard shard)
    : shard_(shard),
      table_(table),
      store_(checkpoint, table, options, spec.heads(), shard),
      cache_type_(options.cache) {
  for (int rank = 0; rank < shard.degree; ++rank)
    vocabulary_.push_back(VocabularyRows(spec.config().vocab_size, {rank, shard.degree}));
}

base::Status LanguageModel::LoadWeights(const checkpoint::Checkpoint& checkpoint, const Spec& spec,
                                        const Outer& outer, const ModelOptions& options,
                                        ops::Context& context,
                                        const std::function<base::Status()>& add_layers) {
  std::vector<std::string> known = outer.also_known;
  if (outer.head.empty() && !outer.tied_copy.empty()) {
    known.push_back(outer.tied_copy);
    const checkpoint::TensorInfo* copy = checkpoint.Find(outer.tied_copy);
    const checkpoint::TensorInfo* embedding = checkpoint.Find(outer.embedding.name);
    if (copy && embedding)
      FT_RETURN_IF_ERROR(
          RequireEqual(checkpoint, *embedding, *copy, vocabulary_[static_cast<size_t>(shard_.rank)]));
  }
  FT_RETURN_IF_ERROR(RefuseLeftovers(checkpoint, spec.Rules(checkpoint.format()), known));

  FT_ASSIGN_OR_RETURN(embedding_, store_.AddMatrix({outer.embedding}, {}, WeightStore::Stack::kInOrder, 1));
  const size_t first = store_.matrix_count();
  FT_RETURN_IF_ERROR(add_layers());
  const size_t end = store_.matrix_count();
  FT_ASSIGN_OR_RETURN(const size_t norm, store_.AddVector(outer.norm));
  size_t bias = 0;
  if (!outer.norm_bias.empty()) {
    FT_ASSIGN_OR_RETURN(bias, store_.AddVector(outer.norm_bias[0]));
  }
  head_ = embedding_;
  if (!outer.head.empty()) {
    FT_ASSIGN_OR_RETURN(head_, store_.AddMatrix({outer.head}, {}, WeightStore::Stack::kInOrder, 1));
  }
  FT_RETURN_IF_ERROR(store_.Load(context, options.progress));

  bool all_bf16 = true;
  for (size_t i = first; i < end; ++i) all_bf16 = all_bf16 && store_.matrix(i).kind == kernels::kBf16Bf16;
  if (cache_type_ == CacheType::kAuto) cache_type_ = all_bf16 ? CacheType::kBf16 : CacheType::kF32;
  attention_kind_ = cache_type_ == CacheType::kBf16 ? kernels::kAttentionBf16 : kernels::kAttentionF32;
  layout_ = spec.Layout(table_, attention_kind_, shard_);
  final_norm_ = store_.MakeNorm(norm, static_cast<float>(outer.eps), outer.norm_bias.empty() ? kNone : bias,
                                outer.layer_norm);
  return base::OkStatus();
}

std::string LanguageModel::TypeName() const {
  static const char* const kNames[] = {"bf16", "bf16 in f32", "f16 in f32", "f32"};
  std::string name;
  for (size_t i = 0; i < store_.matrix_count(); ++i) {
    if (i == embedding_ || i == head_) continue;
    const kernels::MatrixKind kind = store_.matrix(i).kind;
    if (name.empty()) name = kNames[kind];
    if (name != kNames[kind]) return "mixed";
  }
  return name;
}

std::string LanguageModel::CacheTypeName() const {
  return attention_kind_ == kernels::kAttentionBf16 ? "bf16" : "f32";
}

size_t LanguageModel::streamed_bytes() const {
  return head_ == embedding_ ? store_.bytes() : store_.bytes() - store_.MatrixBytes(embedding_);
}

double LanguageModel::HeadFlops() const {
  return 2.0 * static_cast<double>(config().vocab_size) * static_cast<double>(config().hidden_size);
}

std::unique_ptr<cache::SequenceState> LanguageModel::NewSequence(cache::BlockPool* pool) const {
  return std::make_unique<cache::SequenceState>(pool, table_.attention[attention_kind_].clear_from,
                                                head_dim());
}

void LanguageModel::Forward(ops::Context& context, const cache::Batch& batch, float* hidden,
                            uint8_t* row_ok) const {
  const int64_t rows = batch.rows(), stride = hidden_stride();
  std::fill(row_ok, row_ok + rows, uint8_t{1});
  context.StartForward();
  const std::shared_ptr<Pass> pass(new Pass{batch, {}});
  for (const cache::Span& span : batch.spans)
    for (int64_t i = 0; i < span.count; ++i) pass->positions.push_back(span.text_position() + i);
  FT_CHECK(static_cast<int64_t>(pass->positions.size()) == rows);
  float* x = context.Take(rows * stride);
  nn::VocabParallelEmbedding(context, store_.matrix(embedding_), vocabulary_, batch.ids.data(), rows, x,
                             stride);
  nn::ObserveWhole(context, -1, "embed", x, rows, config().hidden_size, stride);
  ops::Dropout(context, -1, ops::Purpose::kEmbedding, x, stride, rows, config().hidden_size);
  StartLayers(context, pass.get());
  RunLayers(context, pass, x, row_ok);
  if (ops::Tape* tape = context.tape()) tape->Declare(hidden, rows * stride);
  ops::RunNorm(context, final_norm_, x, stride, rows, hidden, row_ok);
  nn::ObserveWhole(context, -1, "final_norm", hidden, rows, config().hidden_size, stride);
}

void LanguageModel::RunLayers(ops::Context& context, const std::shared_ptr<Pass>& pass, float* x,
                              uint8_t* row_ok) const {
  for (int64_t i = 0; i < config().num_layers; ++i) {
    if (context.tape() == nullptr || !context.recompute()) {
      RunLayer(context, *pass, i, x, row_ok);
      continue;
    }
    const nn::SavedLayerStates states(pass->batch, static_cast<int>(i));
    const auto ok = std::make_shared<std::vector<uint8_t>>(row_ok, row_ok + pass->rows());
    ops::Recomputation::Run(
        context, x, pass->rows() * hidden_stride(),
        [this, &context, pass, i, x, ok] { RunLayer(context, *pass, i, x, ok->data()); },
        [states] { states.Restore(); });
    std::copy(ok->begin(), ok->end(), row_ok);
  }
}

void LanguageModel::Head(ops::Context& context, const float* hidden, const int64_t* rows, int64_t count,
                         float* logits) const {
  if (count == 0) return;
  ops::Tape* tape = context.tape();
  if (tape == nullptr) context.StartForward();
  context.set_tape(nullptr);  // HeadBackward is called for it
  const ops::Context::Scope scope(context);
  const int64_t stride = hidden_stride();
  float* chosen = context.scratch().TakeArray<float>(count * stride);
  for (int64_t i = 0; i < count; ++i) std::copy_n(hidden + rows[i] * stride, stride, chosen + i * stride);
  const ops::Matrix& head = store_.matrix(head_);
  const ops::Rows packed =
      ops::PackRows(context, chosen, stride, count, head, ops::TakeRows(context, count, head));
  nn::VocabParallelHead(context, packed, head, vocabulary_, logits, logits_stride());
  if (shard_.rank == 0)
    nn::ObserveWhole(context, -1, "logits", logits, count, config().vocab_size, logits_stride());
  context.set_tape(tape);
}

void LanguageModel::HeadBackward(ops::Context& context, const float* hidden, const int64_t* rows,
                                 int64_t count, const float* dlogits) const {
  FT_CHECK(context.tape() != nullptr && store_.trainable());
  const ops::Context::Scope scope(context);
  const int64_t stride = hidden_stride();
  float* chosen = context.scratch().TakeArray<float>(count * stride);
  float* made = context.scratch().TakeArray<float>(count * stride);
  for (int64_t i = 0; i < count; ++i) std::copy_n(hidden + rows[i] * stride, stride, chosen + i * stride);
  ops::MatmulBackward(context, chosen, stride, count, store_.matrix(head_), dlogits, logits_stride(), made,
                      false);
  float* dhidden = context.tape()->Gradient(hidden);
  for (int64_t i = 0; i < count; ++i)
    for (int64_t c = 0; c < stride; ++c) dhidden[rows[i] * stride + c] += made[i * stride + c];
}

}  // namespace fusiontree::models
