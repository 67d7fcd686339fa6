#include "models/decoder/model.h"

#include <algorithm>
#include <map>

#include "models/decoder/family.h"
#include "models/decoder/weight_map.h"

namespace fusiontree::models {

struct DecoderModel::Plan {
  size_t input_norm, post_norm, q_norm = 0, k_norm = 0;
  size_t qkv, o, gate_up, down;
};

DecoderModel::DecoderModel(const checkpoint::Checkpoint& checkpoint, const DecoderSpec& spec,
                           const ModelOptions& options, const kernels::Table& table, Shard shard)
    : spec_(spec),
      config_(spec_.config()),
      shard_(shard),
      table_(table),
      store_(checkpoint, table, options.compute, heads(), shard),
      cache_type_(options.cache) {
  for (int rank = 0; rank < shard.degree; ++rank)
    vocabulary_.push_back(VocabularyRows(config_.vocab_size, {rank, shard.degree}));
}

base::Result<std::unique_ptr<Model>> DecoderModel::Load(const checkpoint::Checkpoint& checkpoint,
                                                        const DecoderSpec& spec, const ModelOptions& options,
                                                        ops::Context& context) {
  FT_ASSIGN_OR_RETURN(const Shard shard, ShardOf(checkpoint, spec.config().reduction_slices, context));
  std::unique_ptr<DecoderModel> model(new DecoderModel(checkpoint, spec, options, context.kernels(), shard));
  FT_RETURN_IF_ERROR(model->Build(checkpoint, options, context));
  return std::unique_ptr<Model>(std::move(model));
}

base::Result<DecoderModel::Plan> DecoderModel::AddLayer(const LayerRules& r) {
  const int64_t slices = config_.reduction_slices;
  Plan plan{};
  FT_ASSIGN_OR_RETURN(plan.input_norm, store_.AddVector(r.input_norm));
  FT_ASSIGN_OR_RETURN(plan.qkv,
                      store_.AddMatrix({r.q, r.k, r.v}, r.qkv_bias, WeightStore::Stack::kInOrder, 1));
  if (!r.qk_norm.empty()) {
    FT_ASSIGN_OR_RETURN(plan.q_norm, store_.AddVector(r.qk_norm[0]));
    FT_ASSIGN_OR_RETURN(plan.k_norm, store_.AddVector(r.qk_norm[1]));
  }
  FT_ASSIGN_OR_RETURN(plan.o, store_.AddMatrix({r.o}, r.o_bias, WeightStore::Stack::kInOrder, slices));
  FT_ASSIGN_OR_RETURN(plan.post_norm, store_.AddVector(r.post_norm));
  FT_ASSIGN_OR_RETURN(plan.gate_up,
                      store_.AddMatrix({r.gate, r.up}, r.gate_up_bias, WeightStore::Stack::kAlternate, 1));
  FT_ASSIGN_OR_RETURN(plan.down,
                      store_.AddMatrix({r.down}, r.down_bias, WeightStore::Stack::kInOrder, slices));
  return plan;
}

base::Status DecoderModel::Build(const checkpoint::Checkpoint& checkpoint, const ModelOptions& options,
                                 ops::Context& context) {
  const bool gguf = checkpoint.format() == checkpoint::Checkpoint::Format::kGguf;
  const DecoderRules rules = RulesOf(checkpoint, config_);
  std::vector<std::string> known = {"rope_freqs.weight"};
  if (config_.tie_word_embeddings && !gguf) {
    known.push_back("lm_head.weight");
    const checkpoint::TensorInfo* copy = checkpoint.Find("lm_head.weight");
    const checkpoint::TensorInfo* embedding = checkpoint.Find(rules.embedding.name);
    if (copy && embedding)
      FT_RETURN_IF_ERROR(
          RequireEqual(checkpoint, *embedding, *copy, vocabulary_[static_cast<size_t>(shard_.rank)]));
  }
  FT_RETURN_IF_ERROR(RefuseLeftovers(checkpoint, rules.All(), known));

  FT_ASSIGN_OR_RETURN(embedding_, store_.AddMatrix({rules.embedding}, {}, WeightStore::Stack::kInOrder, 1));
  std::vector<Plan> plans;
  for (const LayerRules& layer : rules.layers) {
    FT_ASSIGN_OR_RETURN(const Plan plan, AddLayer(layer));
    plans.push_back(plan);
  }
  FT_ASSIGN_OR_RETURN(const size_t final_norm, store_.AddVector(rules.final_norm));
  head_ = embedding_;
  if (!rules.head.empty()) {
    FT_ASSIGN_OR_RETURN(head_, store_.AddMatrix({rules.head}, {}, WeightStore::Stack::kInOrder, 1));
  }
  FT_RETURN_IF_ERROR(store_.Load(context, options.progress));

  bool all_bf16 = true;
  for (const Plan& plan : plans) all_bf16 = all_bf16 && store_.matrix(plan.qkv).kind == kernels::kBf16Bf16;
  if (cache_type_ == CacheType::kAuto) cache_type_ = all_bf16 ? CacheType::kBf16 : CacheType::kF32;
  attention_kind_ = cache_type_ == CacheType::kBf16 ? kernels::kAttentionBf16 : kernels::kAttentionF32;
  layout_ = spec_.Layout(table_, attention_kind_, shard_);
  inverse_frequencies_ = InverseFrequencies(config_);
  final_norm_ = store_.vector(final_norm);
  for (int64_t i = 0; i < config_.num_layers; ++i)
    layers_.push_back(MakeLayer(plans[static_cast<size_t>(i)], i));
  return base::OkStatus();
}

DecoderModel::Layer DecoderModel::MakeLayer(const Plan& plan, int64_t index) {
  const float eps = static_cast<float>(config_.norm_eps);
  Layer layer{};
  layer.input_norm = store_.vector(plan.input_norm);
  layer.post_norm = store_.vector(plan.post_norm);
  nn::AttentionWeights& a = layer.attention;
  a.qkv = store_.matrix(plan.qkv);
  a.o = store_.matrix(plan.o);
  if (config_.qk_norm) {
    a.q_norm = store_.vector(plan.q_norm);
    a.k_norm = store_.vector(plan.k_norm);
  }
  a.norm_eps = eps;
  const int64_t d = config_.head_dim, group = config_.num_heads / config_.num_kv_heads;
  const int64_t window = config_.windows[static_cast<size_t>(index)];
  const base::Range q = QueryHeads(heads(), shard_), kv = KvHeads(heads(), shard_);
  a.heads = q.end - q.begin;
  a.kv_heads = kv.end - kv.begin;
  a.head_dim = d;
  a.k_column = store_.PartColumn(plan.qkv, 1);
  a.v_column = store_.PartColumn(plan.qkv, 2);
  a.q_part = {{q.begin * d, q.end * d}, config_.num_heads * d};
  a.kv_part = {{kv.begin * d, kv.end * d}, config_.num_kv_heads * d};
  a.sets = {{{attention_kind_, a.heads, a.kv_heads, d, window, group, q.begin % group},
             layout_.GroupOf(static_cast<int>(index), window)}};
  const int64_t width = config_.intermediate_size / shard_.degree;
  layer.mlp = {store_.matrix(plan.gate_up),
               store_.matrix(plan.down),
               {{shard_.rank * width, (shard_.rank + 1) * width}, config_.intermediate_size}};
  return layer;
}

std::string DecoderModel::TypeName() const {
  static const char* const kNames[] = {"bf16", "bf16 in f32", "f16 in f32", "f32"};
  std::string name;
  for (const Layer& layer : layers_) {
    for (const ops::Matrix* m :
         {&layer.attention.qkv, &layer.attention.o, &layer.mlp.gate_up, &layer.mlp.down}) {
      if (name.empty()) name = kNames[m->kind];
      if (name != kNames[m->kind]) return "mixed";
    }
  }
  return name;
}

std::string DecoderModel::CacheTypeName() const {
  return attention_kind_ == kernels::kAttentionBf16 ? "bf16" : "f32";
}

size_t DecoderModel::streamed_bytes() const {
  return head_ == embedding_ ? store_.bytes() : store_.bytes() - store_.MatrixBytes(embedding_);
}

double DecoderModel::FlopsPerToken(int64_t context) const {
  const DecoderConfig& c = config_;
  const double q = static_cast<double>(c.num_heads * c.head_dim),
               kv = static_cast<double>(c.num_kv_heads * c.head_dim);
  const double h = static_cast<double>(c.hidden_size), i = static_cast<double>(c.intermediate_size);
  double flops = 0.0;
  for (int64_t window : c.windows) {
    const double keys = static_cast<double>(window > 0 ? std::min(window, context) : context);
    flops += 2.0 * (h * (q + 2.0 * kv) + q * h + 3.0 * h * i) + 4.0 * q * keys;
  }
  return flops;
}

double DecoderModel::HeadFlops() const {
  return 2.0 * static_cast<double>(config_.vocab_size) * static_cast<double>(config_.hidden_size);
}

std::unique_ptr<cache::SequenceState> DecoderModel::NewSequence(cache::BlockPool* pool) const {
  return std::make_unique<cache::SequenceState>(pool, table_.attention[attention_kind_].clear_from,
                                                config_.head_dim);
}

void DecoderModel::Forward(ops::Context& context, const cache::Batch& batch, float* hidden,
                           uint8_t* row_ok) const {
  const int64_t rows = batch.rows(), stride = hidden_stride();
  const float eps = static_cast<float>(config_.norm_eps);
  std::fill(row_ok, row_ok + rows, uint8_t{1});
  context.arena().Reset();
  std::vector<int64_t> positions;
  for (const cache::Span& span : batch.spans)
    for (int64_t i = 0; i < span.count; ++i) positions.push_back(span.first_position + i);
  FT_CHECK(static_cast<int64_t>(positions.size()) == rows);
  const ops::RopeAngles angles =
      ops::MakeRopeAngles(context, positions.data(), rows, inverse_frequencies_.data(), config_.head_dim / 2);

  // Kinds may differ from layer to layer, so the packed rows get the largest room.
  float* x = context.arena().TakeArray<float>(rows * stride);
  float* normed = context.probe() ? context.arena().TakeArray<float>(rows * stride) : nullptr;
  auto probe = [&](int layer, const char* op, const float* value) {
    if (context.probe()) context.probe()->Observe(layer, op, value, rows, config_.hidden_size, stride);
  };
  size_t row_bytes = 0;
  for (const Layer& layer : layers_)
    for (const ops::Matrix* m : {&layer.attention.qkv, &layer.mlp.gate_up})
      row_bytes = std::max(row_bytes, table_.matrix[m->kind].rows_bytes(rows, m->k, m->slices));
  void* packed = context.arena().Take(row_bytes);
  std::map<std::pair<int, int>, std::pair<nn::AttentionSpace, nn::MlpSpace>>
      spaces;  // by the kinds of o and down

  nn::VocabParallelEmbedding(context, store_.matrix(embedding_), vocabulary_, batch.ids.data(), rows, x,
                             stride);
  probe(-1, "embed", x);
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    const int number = static_cast<int>(i);
    auto [space, fresh] = spaces.try_emplace({layer.attention.o.kind, layer.mlp.down.kind});
    if (fresh)
      space->second = {nn::TakeAttentionSpace(context, rows, layer.attention),
                       nn::TakeMlpSpace(context, rows, layer.mlp)};

    ops::Rows in = ops::NormRows(context, x, stride, rows, layer.input_norm, eps, layer.attention.qkv, packed,
                                 normed, row_ok);
    probe(number, "input_norm", normed);
    nn::RunAttention(context, layer.attention, space->second.first, in, batch, angles, number, kernels::kAdd,
                     x, stride, row_ok);
    probe(number, "o_proj", x);
    in = ops::NormRows(context, x, stride, rows, layer.post_norm, eps, layer.mlp.gate_up, packed, normed,
                       row_ok);
    probe(number, "post_norm", normed);
    nn::RunMlp(context, layer.mlp, space->second.second, in, number, x, stride);
    probe(number, "down_proj", x);
  }
  ops::RmsNorm(context, x, stride, rows, config_.hidden_size, final_norm_, eps, hidden, row_ok);
  probe(-1, "final_norm", hidden);
}

void DecoderModel::Head(ops::Context& context, const float* hidden, const int64_t* rows, int64_t count,
                        float* logits) const {
  if (count == 0) return;
  const int64_t stride = hidden_stride();
  context.arena().Reset();
  float* chosen = context.arena().TakeArray<float>(count * stride);
  for (int64_t i = 0; i < count; ++i) std::copy_n(hidden + rows[i] * stride, stride, chosen + i * stride);
  const ops::Matrix& head = store_.matrix(head_);
  const ops::Rows packed =
      ops::PackRows(context, chosen, stride, count, head, ops::TakeRows(context, count, head));
  nn::VocabParallelHead(context, packed, head, vocabulary_, logits, logits_stride());
  if (context.probe() && shard_.rank == 0)
    context.probe()->Observe(-1, "logits", logits, count, config_.vocab_size, logits_stride());
}

}  // namespace fusiontree::models
