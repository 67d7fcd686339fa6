#include "models/mixer.h"

#include <tuple>

namespace fusiontree::models {
namespace {

TensorRule RowsOf(std::string name, int64_t first, std::vector<int64_t> shape, int64_t all,
                  Sharding sharding) {
  TensorRule rule = MakeRule(std::move(name), std::move(shape), sharding);
  rule.first_row = first;
  rule.all_rows = all;
  return rule;
}

}  // namespace

MixerRules MakeMixerRules(const std::string& p, const MixerShape& s) {
  const int64_t d = s.inner, n = s.state, r = s.rank;
  const auto in_f32 = [&](TensorRule rule) {
    rule.f32_only = s.f32_states;
    return rule;
  };
  MixerRules m;
  m.in_x = RowsOf(p + "in_proj.weight", 0, {d, s.hidden}, 2 * d, Sharding::kRows);
  m.in_z = RowsOf(p + "in_proj.weight", d, {d, s.hidden}, 2 * d, Sharding::kRows);
  if (s.projection_bias) {
    m.in_bias = {RowsOf(p + "in_proj.bias", 0, {d}, 2 * d, Sharding::kRows),
                 RowsOf(p + "in_proj.bias", d, {d}, 2 * d, Sharding::kRows)};
    m.out_bias = {MakeRule(p + "out_proj.bias", {s.hidden})};
  }
  if (s.kernel > 0) {
    m.conv = {MakeRule(p + "conv1d.weight", {d, 1, s.kernel}, Sharding::kRows)};
    if (s.conv_bias) m.conv_bias = {MakeRule(p + "conv1d.bias", {d}, Sharding::kRows)};
  }
  m.x_dt = RowsOf(p + "x_proj.weight", 0, {r, d}, r + 2 * n, Sharding::kColumns);
  m.x_b = RowsOf(p + "x_proj.weight", r, {n, d}, r + 2 * n, Sharding::kColumns);
  m.x_c = RowsOf(p + "x_proj.weight", r + n, {n, d}, r + 2 * n, Sharding::kColumns);
  if (s.norms) {
    m.dt_norm = {MakeRule(p + "dt_norm.weight", {r})};
    m.b_norm = {MakeRule(p + "b_norm.weight", {n})};
    m.c_norm = {MakeRule(p + "c_norm.weight", {n})};
  }
  m.dt = MakeRule(p + "dt_proj.weight", {d, r}, Sharding::kRows);
  m.dt_bias = in_f32(MakeRule(p + "dt_proj.bias", {d}, Sharding::kRows));
  m.a_log = in_f32(MakeRule(p + "A_log", {d, n}, Sharding::kRows));
  m.d = in_f32(MakeRule(p + "D", {d}, Sharding::kRows));
  m.out = MakeRule(p + "out_proj.weight", {s.hidden, d}, Sharding::kColumns);
  return m;
}

std::vector<TensorRule> AllOf(const MixerRules& m) {
  std::vector<TensorRule> all = {m.in_x, m.in_z, m.x_dt, m.x_b, m.x_c, m.dt, m.dt_bias, m.a_log, m.d, m.out};
  for (const auto* r : {&m.in_bias, &m.conv, &m.conv_bias, &m.dt_norm, &m.b_norm, &m.c_norm, &m.out_bias})
    all.insert(all.end(), r->begin(), r->end());
  return all;
}

void AddMixerStates(const MixerShape& s, int layer, Shard shard, cache::CacheLayout* layout) {
  const int64_t channels = s.inner / shard.degree;
  if (s.kernel > 1) layout->states.push_back({"conv", layer, s.kernel - 1, channels});
  layout->states.push_back({"scan", layer, s.state, channels});
}

base::Result<MixerPlan> AddMixer(const MixerRules& r, int64_t slices, WeightStore* store) {
  const auto in_order = WeightStore::Stack::kInOrder;
  MixerPlan plan{};
  FT_ASSIGN_OR_RETURN(plan.in, store->AddMatrix({r.in_x, r.in_z}, r.in_bias, in_order, 1));
  FT_ASSIGN_OR_RETURN(plan.x, store->AddMatrix({r.x_dt, r.x_b, r.x_c}, {}, in_order, slices));
  FT_ASSIGN_OR_RETURN(plan.dt, store->AddMatrix({r.dt}, {r.dt_bias}, in_order, 1));
  FT_ASSIGN_OR_RETURN(plan.out, store->AddMatrix({r.out}, r.out_bias, in_order, slices));
  using Form = WeightStore::Form;
  FT_ASSIGN_OR_RETURN(plan.a, store->AddVector(r.a_log, Form::kDecay));
  FT_ASSIGN_OR_RETURN(plan.d, store->AddVector(r.d, Form::kByChannel));
  const std::tuple<const OptionalRule*, size_t*, Form> optional[] = {
      {&r.conv, &plan.conv, Form::kByChannel},
      {&r.conv_bias, &plan.conv_bias, Form::kByChannel},
      {&r.dt_norm, &plan.dt_norm, Form::kAsStored},
      {&r.b_norm, &plan.b_norm, Form::kAsStored},
      {&r.c_norm, &plan.c_norm, Form::kAsStored}};
  for (const auto& [rule, index, form] : optional) {
    if (rule->empty()) continue;
    FT_ASSIGN_OR_RETURN(*index, store->AddVector((*rule)[0], form));
  }
  return plan;
}

nn::MambaWeights MakeMixer(const MixerPlan& plan, const MixerShape& s, const WeightStore& store, Shard shard,
                           float eps, size_t first_state) {
  const int64_t local = s.inner / shard.degree, channels = ops::PaddedColumns(local);
  nn::MambaWeights w;
  w.in = store.matrix(plan.in);
  w.z_column = store.PartColumn(plan.in, 1);
  w.x = store.matrix(plan.x);
  w.b_column = store.PartColumn(plan.x, 1);
  w.c_column = store.PartColumn(plan.x, 2);
  w.dt = store.matrix(plan.dt);
  w.out = store.matrix(plan.out);
  w.rank = s.rank;
  w.part = {{shard.rank * local, (shard.rank + 1) * local}, s.inner};
  if (s.kernel > 0)
    w.conv = store.MakeConvolution(plan.conv, plan.conv_bias, s.kernel, channels, kernels::kConvSilu);
  if (s.norms) {
    w.dt_norm = store.MakeNorm(plan.dt_norm, eps);
    w.b_norm = store.MakeNorm(plan.b_norm, eps);
    w.c_norm = store.MakeNorm(plan.c_norm, eps);
  }
  w.scan = {s.state,
            channels,
            store.vector(plan.a),
            store.vector(plan.d),
            store.gradient(plan.a),
            store.gradient(plan.d)};
  w.conv_state = s.kernel > 1 ? first_state : nn::kNoState;
  w.scan_state = first_state + (s.kernel > 1 ? 1 : 0);
  return w;
}

double MixerFlops(const MixerShape& s) {
  const double d = static_cast<double>(s.inner), h = static_cast<double>(s.hidden),
               n = static_cast<double>(s.state), r = static_cast<double>(s.rank);
  return 2.0 * (3.0 * h * d + d * (r + 2.0 * n) + r * d + static_cast<double>(s.kernel) * d + 3.0 * n * d);
}

}  // namespace fusiontree::models
