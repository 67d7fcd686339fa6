// Loading: which tensors there are, and how they become the layers' weights.
#include <algorithm>

#include "base/math.h"
#include "models/fusiontree/model.h"
#include "models/fusiontree/weight_map.h"
#include "models/rope.h"

namespace fusiontree::models {
namespace {

struct NormPlan {
  size_t weight = kNone, bias = kNone;
};

base::Result<size_t> AddOptional(const OptionalRule& rule, WeightStore* store,
                                 WeightStore::Form form = WeightStore::Form::kAsStored) {
  if (rule.empty()) return kNone;
  return store->AddVector(rule[0], form);
}

base::Result<NormPlan> AddNorm(const NormRules& rules, WeightStore* store) {
  NormPlan plan;
  FT_ASSIGN_OR_RETURN(plan.weight, AddOptional(rules.weight, store));
  FT_ASSIGN_OR_RETURN(plan.bias, AddOptional(rules.bias, store));
  return plan;
}

}  // namespace

struct FusionTreeModel::Plan {
  NormPlan norm_in, norm_mid, norm_m, norm_a, norm_out;
  size_t table = kNone, basis = kNone;
  MixerPlan mixer{};
  size_t attn_conv = kNone, qkv = kNone, o = kNone;
  size_t w1 = kNone, w2 = kNone, wr = kNone, gu = kNone, gd = kNone, wf = kNone, m1 = kNone, m2 = kNone;
};

base::Result<std::unique_ptr<Model>> FusionTreeModel::Load(const checkpoint::Checkpoint& checkpoint,
                                                           const FusionTreeSpec& spec,
                                                           const ModelOptions& options,
                                                           ops::Context& context) {
  FT_ASSIGN_OR_RETURN(const Shard shard, ShardOf(checkpoint, spec.config().reduction_slices, context));
  std::unique_ptr<FusionTreeModel> model(
      new FusionTreeModel(checkpoint, spec, options, context.kernels(), shard));
  FT_RETURN_IF_ERROR(model->Build(checkpoint, options, context));
  return std::unique_ptr<Model>(std::move(model));
}

base::Status FusionTreeModel::AddLayer(const FusionLayerRules& r, Plan* plan) {
  const int64_t slices = config().reduction_slices;
  const auto matrix = [&](const OptionalRule& rule, const OptionalRule& bias, int64_t of,
                          size_t* index) -> base::Status {
    if (rule.empty()) return base::OkStatus();
    FT_ASSIGN_OR_RETURN(*index, store_.AddMatrix(rule, bias, WeightStore::Stack::kInOrder, of));
    return base::OkStatus();
  };
  FT_ASSIGN_OR_RETURN(plan->norm_in, AddNorm(r.norm_in, &store_));
  FT_ASSIGN_OR_RETURN(plan->norm_mid, AddNorm(r.norm_mid, &store_));
  FT_ASSIGN_OR_RETURN(plan->norm_m, AddNorm(r.norm_m, &store_));
  FT_ASSIGN_OR_RETURN(plan->norm_a, AddNorm(r.norm_a, &store_));
  FT_ASSIGN_OR_RETURN(plan->norm_out, AddNorm(r.norm_out, &store_));
  FT_ASSIGN_OR_RETURN(plan->table, AddOptional(r.srte_table, &store_));
  FT_RETURN_IF_ERROR(matrix(r.srte_basis, {}, 1, &plan->basis));
  if (!r.mixer.empty()) {
    FT_ASSIGN_OR_RETURN(plan->mixer, AddMixer(r.mixer[0], slices, &store_));
  }
  if (!r.q.empty()) {
    FT_ASSIGN_OR_RETURN(plan->attn_conv, AddOptional(r.attn_conv, &store_, WeightStore::Form::kByChannel));
    FT_ASSIGN_OR_RETURN(plan->qkv,
                        store_.AddMatrix({r.q[0], r.k[0], r.v[0]}, {}, WeightStore::Stack::kInOrder, 1));
    FT_RETURN_IF_ERROR(matrix(r.o, {}, slices, &plan->o));
  }
  // A concatenated input has a slice a part.
  const int64_t parts = !r.mixer.empty() && !r.q.empty() ? 2 : 1;
  FT_RETURN_IF_ERROR(matrix(r.w1, r.w1_bias, parts, &plan->w1));
  FT_RETURN_IF_ERROR(matrix(r.w2, r.w2_bias, slices, &plan->w2));
  FT_RETURN_IF_ERROR(matrix(r.wr, r.wr_bias, parts, &plan->wr));
  FT_RETURN_IF_ERROR(matrix(r.gu, {}, 1, &plan->gu));
  FT_RETURN_IF_ERROR(matrix(r.gd, {}, 1, &plan->gd));
  FT_RETURN_IF_ERROR(matrix({r.wf}, {r.wf_bias}, 1, &plan->wf));
  FT_RETURN_IF_ERROR(matrix({r.m1}, {r.m1_bias}, 1, &plan->m1));
  return matrix({r.m2}, {r.m2_bias}, slices, &plan->m2);
}

base::Status FusionTreeModel::Build(const checkpoint::Checkpoint& checkpoint, const ModelOptions& options,
                                    ops::Context& context) {
  const FusionTreeConfig& c = config();
  const FusionTreeRules rules = MakeFusionTreeRules(c);
  std::vector<Plan> plans;
  Plan shared;
  const Outer outer{.embedding = rules.embedding,
                    .head = rules.head,
                    .norm = rules.final_norm.weight[0],
                    .norm_bias = rules.final_norm.bias,
                    .eps = c.norm_eps,
                    .layer_norm = c.layer_norm,
                    .tied_copy = "",
                    .also_known = {}};
  FT_RETURN_IF_ERROR(LoadWeights(checkpoint, spec_, outer, options, context, [&]() -> base::Status {
    FT_ASSIGN_OR_RETURN(shared.table, AddOptional(rules.srte_table, &store_));
    if (!rules.srte_basis.empty()) {
      FT_ASSIGN_OR_RETURN(shared.basis,
                          store_.AddMatrix(rules.srte_basis, {}, WeightStore::Stack::kInOrder, 1));
    }
    base::Status added;
    for (size_t i = 0; i < rules.layers.size() && added.ok(); ++i)
      added = AddLayer(rules.layers[i], &plans.emplace_back());
    return added;
  }));

  const auto table = [&](const Plan& plan) {
    TimeTable time;
    if (plan.table == kNone) return time;
    time.rows = store_.vector(plan.table);
    time.drows = store_.gradient(plan.table);
    time.columns = c.srte == TimeEncoding::kFactorized ? c.srte_rank : c.hidden_size;
    if (plan.basis != kNone) time.basis = store_.matrix(plan.basis);
    return time;
  };
  time_ = table(shared);
  size_t next_state = 0;
  for (int64_t i = 0; i < c.num_layers; ++i) {
    MakeLayer(plans[static_cast<size_t>(i)], i, &next_state);
    layers_.back().time = table(plans[static_cast<size_t>(i)]);
  }
  FT_CHECK(next_state == layout_.states.size());
  if (!options.layer_plan.empty()) FT_RETURN_IF_ERROR(FollowPlan(options.layer_plan));

  inverse_frequencies_ = RopeFrequencies(c.rope_theta, c.head_dim);
  for (int64_t i = 0; i < c.hidden_size / 2; ++i)
    time_frequencies_.push_back(
        base::Pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(c.hidden_size)));
  return base::OkStatus();
}

base::Status FusionTreeModel::FollowPlan(const std::vector<std::string>& plan) {
  if (plan.size() != layers_.size())
    return base::BadInput("the plan has {} entries for {} layers", plan.size(), layers_.size());
  for (size_t i = 0; i < plan.size(); ++i) {
    Layer& layer = layers_[i];
    const std::string& as = plan[i];
    const std::string held = LayerTypeName(config().layer_types[i]);
    if (as == held) continue;
    const bool local = as == "local" && held == "hybrid" && config().local_heads() > 0;
    if (!local && (held != "hybrid" && held != "local"))
      return base::BadInput("the plan runs layer {}, which is {}, as {}", i, held, as);
    if (as == "mamba") {
      layer.attention = false;
    } else if (as == "attention" && held == "hybrid") {
      layer.mamba = false;
    } else if (local) {
      nn::AttentionWeights& a = layer.attn;
      while (!a.sets.empty() && a.sets.back().shape.window == 0) {
        a.heads -= a.sets.back().shape.heads;
        a.kv_heads -= a.sets.back().shape.kv_heads;
        a.sets.pop_back();
      }
    } else {
      return base::BadInput("the plan runs layer {}, which is {}, as {}", i, held, as);
    }
  }
  return base::OkStatus();
}

void FusionTreeModel::MakeLayer(const Plan& plan, int64_t index, size_t* next_state) {
  const FusionTreeConfig& c = config();
  const float eps = static_cast<float>(c.norm_eps);
  const auto norm = [&](const NormPlan& n, bool layer_norm) {
    return n.weight == kNone ? ops::Norm() : store_.MakeNorm(n.weight, eps, n.bias, layer_norm);
  };
  Layer& layer = layers_.emplace_back();
  layer.mamba = c.HasMamba(index);
  layer.attention = c.HasAttention(index);
  layer.norm_in = norm(plan.norm_in, c.layer_norm);
  layer.norm_mid = norm(plan.norm_mid, c.layer_norm);
  layer.norm_m = norm(plan.norm_m, false);
  layer.norm_a = norm(plan.norm_a, false);
  layer.norm_out = norm(plan.norm_out, c.layer_norm);
  // States in the order of FusionTreeSpec::Layout.
  if (layer.attention) {
    layer.attn_conv_state = c.attn_conv_kernel > 1 ? (*next_state)++ : nn::kNoState;
    if (plan.attn_conv != kNone)
      layer.attn_conv = store_.MakeConvolution(plan.attn_conv, kNone, c.attn_conv_kernel, hidden_stride(),
                                               kernels::kConvAddInput);
    layer.attn = MakeAttention(plan, index);
  }
  if (layer.mamba) {
    layer.mixer = MakeMixer(plan.mixer, spec_.mixer(), store_, shard_, eps, *next_state);
    *next_state = layer.mixer.scan_state + 1;
  }
  layer.fusion = MakeFusion(plan, index);
}

nn::AttentionWeights FusionTreeModel::MakeAttention(const Plan& plan, int64_t index) const {
  const FusionTreeConfig& c = config();
  const int64_t d = c.head_dim, group = c.group();
  nn::AttentionWeights a;
  a.qkv = store_.matrix(plan.qkv);
  a.k_column = store_.PartColumn(plan.qkv, 1);
  a.v_column = store_.PartColumn(plan.qkv, 2);
  a.o = store_.matrix(plan.o);
  a.head_dim = d;
  base::Range query{0, 0}, kv{0, 0};
  for (const FusionTreeSpec::Heads& h : spec_.HeadsOf(index, shard_)) {
    if (!h.any()) continue;
    const int64_t heads = h.query.end - h.query.begin, kv_heads = h.kv.end - h.kv.begin;
    if (a.heads == 0) {
      query.begin = h.query.begin;
      kv.begin = h.kv.begin;
    }
    query.end = h.query.end;
    kv.end = h.kv.end;
    a.heads += heads;
    a.kv_heads += kv_heads;
    a.sets.push_back({{attention_kind_, heads, kv_heads, d, h.window, group, h.query.begin % group},
                      layout_.GroupOf(static_cast<int>(index), h.window)});
  }
  const int64_t all = c.HeadsOf(index);
  a.q_part = {{query.begin * d, query.end * d}, all * d};
  a.kv_part = {{kv.begin * d, kv.end * d}, all / group * d};
  return a;
}

nn::FusionWeights FusionTreeModel::MakeFusion(const Plan& plan, int64_t index) const {
  const FusionTreeConfig& c = config();
  const int64_t h = c.hidden_size, width = h / shard_.degree;
  nn::FusionWeights f;
  f.hidden = h;
  f.aligned = c.aligned;
  if (f.aligned) {
    f.w1 = store_.matrix(plan.w1);
    f.w2 = store_.matrix(plan.w2);
    f.wr = store_.matrix(plan.wr);
  }
  f.gated = c.Gated(index);
  f.one_gate = c.gate == GateKind::kToken;
  if (f.gated) {
    f.gu = store_.matrix(plan.gu);
    f.gd = store_.matrix(plan.gd);
  }
  f.wf = store_.matrix(plan.wf);
  f.m1 = store_.matrix(plan.m1);
  f.m2 = store_.matrix(plan.m2);
  f.w1_part = {{shard_.rank * width, (shard_.rank + 1) * width}, h};
  f.m1_part = {{shard_.rank * 2 * width, (shard_.rank + 1) * 2 * width}, 2 * h};
  return f;
}

}  // namespace fusiontree::models
