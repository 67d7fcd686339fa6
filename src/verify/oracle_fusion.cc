#include "verify/oracle_fusion.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "verify/oracle_fusion_config.h"
#include "verify/oracle_mixer.h"

namespace fusiontree::verify {
namespace {

using base::BadInput;
using base::Result;
using base::Status;
using Config = OracleFusionConfig;

constexpr double kDoubleUnit = 0x1p-52;  // what a double computation of an angle is off, relatively

class FusionOracle : public Oracle {
 public:
  FusionOracle(const checkpoint::Checkpoint* checkpoint, Config config, int threads)
      : Oracle(threads), config_(std::move(config)), tensors_(checkpoint, threads) {
    // As Transformers computes them, each step in fp32: a part of the model's definition.
    for (int64_t i = 0; i < config_.head_dim / 2; ++i) {
      const float exponent = static_cast<float>(2 * i) / static_cast<float>(config_.head_dim);
      const double power = std::pow(config_.rope_theta, static_cast<double>(exponent));
      rope_.push_back(static_cast<double>(1.0f / static_cast<float>(power)));
    }
  }

  OracleSizes sizes() const override { return {config_.vocab_size, config_.hidden_size, config_.num_layers}; }
  const char* layer_output() const override { return "layer_out"; }
  std::vector<std::string> Differences(const models::Config& engine) const override {
    return FusionDifferences(config_, engine);
  }

 private:
  using Sequences = std::vector<SequenceRows>;

  Result<OracleMatrix> Embedding() const override {
    return tensors_.Matrix("model.embed_tokens", config_.vocab_size, config_.hidden_size);
  }
  Result<OracleMatrix> Head() const override {
    return config_.tied ? Embedding() : tensors_.Matrix("lm_head", config_.vocab_size, config_.hidden_size);
  }
  Result<OracleNorm> FinalNorm() const override { return Norm("model.norm", config_.layer_norm); }
  Result<OracleNorm> Norm(const std::string& stem, bool layer_norm) const {
    OracleNorm norm;
    norm.eps = config_.norm_eps;
    norm.layer_norm = layer_norm;
    FT_ASSIGN_OR_RETURN(norm.weight, tensors_.Vector(stem + ".weight", config_.hidden_size));
    if (layer_norm) {
      FT_ASSIGN_OR_RETURN(norm.bias, tensors_.Vector(stem + ".bias", config_.hidden_size));
    }
    return norm;
  }

  Status BeforeLayers(Walker* walker, const Sequences& sequences) const override {
    if (config_.srte == "none" || !config_.AnyMamba() || !config_.OneEncoding()) return base::OkStatus();
    walker->Keep("srte");
    return WalkTime(walker, sequences, -1, "model.");
  }
  Status WalkLayer(Walker* walker, const Sequences& sequences, int64_t i) const override;
  Status WalkTime(Walker* walker, const Sequences& sequences, int layer, const std::string& prefix) const;
  Status WalkMamba(Walker* walker, const Sequences& sequences, int layer, const std::string& prefix) const;
  Status WalkAttention(Walker* walker, const Sequences& sequences, int layer,
                       const std::string& prefix) const;
  Status WalkAlignment(Walker* walker, int layer, const std::string& prefix) const;
  Status WalkGate(Walker* walker, int layer, const std::string& prefix) const;
  Status WalkNorm(Walker* walker, int layer, const char* op, const std::string& stem, bool layer_norm,
                  const std::function<Rows(const Side&)>& input) const {
    FT_ASSIGN_OR_RETURN(const OracleNorm norm, Norm(stem, layer_norm));
    return walker->Step(layer, op, [&](const Side& s) { return s.math.Norm(input(s), norm); });
  }
  // Names of the branches' values, null where the layer has none.
  const char* MambaValue(int layer) const {
    return !config_.HasMamba(layer) ? nullptr : config_.branch_norm ? "norm_m" : "mamba_out";
  }
  const char* AttentionValue(int layer) const {
    return !config_.HasAttention(layer) ? nullptr : config_.branch_norm ? "norm_a" : "attn_out";
  }

  Config config_;
  OracleTensors tensors_;
  std::vector<double> rope_;  // inverse frequencies [d / 2]
};

// [a ; b] of each row.
Rows Joined(const Rows& a, const Rows& b) {
  Rows out(a.rows, a.columns + b.columns);
  for (int64_t r = 0; r < a.rows; ++r)
    std::copy_n(b.row(r), b.columns, std::copy_n(a.row(r), a.columns, out.row(r)));
  return out;
}

Status FusionOracle::WalkTime(Walker* walker, const Sequences& sequences, int layer,
                              const std::string& prefix) const {
  const int64_t hidden = config_.hidden_size, last = config_.table_positions;
  int64_t rows = 0;
  for (const SequenceRows& sequence : sequences) rows = std::max(rows, sequence.first + sequence.count);
  if (config_.srte == "sincos") {
    return walker->Step(layer, "srte", [&](const Side& s) {
      Bounded out{Rows(rows, hidden), s.precision ? Rows(rows, hidden) : Rows()};
      for (const SequenceRows& sequence : sequences) {
        for (int64_t p = 0; p < sequence.count; ++p) {
          for (int64_t i = 0; i < hidden; ++i) {
            const double angle =
                static_cast<double>(p) *
                std::pow(10000.0, -2.0 * static_cast<double>(i / 2) / static_cast<double>(hidden));
            double value = i % 2 == 0 ? std::sin(angle) : std::cos(angle);
            // That it is rounded once is a part of the model's definition.
            if (!s.precision) value = static_cast<double>(static_cast<float>(value));
            out.value.row(sequence.first + p)[i] = value;
            if (s.precision)
              out.bound.row(sequence.first + p)[i] =
                  kUnit * std::fabs(value) + (8.0 + 8.0 * angle) * kDoubleUnit;
          }
        }
      }
      return out;
    });
  }
  const bool learnt = config_.srte == "learnable";
  const int64_t columns = learnt ? hidden : config_.srte_rank;
  FT_ASSIGN_OR_RETURN(const std::vector<float> table,
                      tensors_.Vector(prefix + (learnt ? "srte.weight" : "srte.factor"), last * columns));
  OracleMatrix basis;
  if (!learnt) {
    // Its name does not end in ".weight".
    FT_ASSIGN_OR_RETURN(basis, tensors_.MatrixNamed(prefix + "srte.basis", hidden, columns));
  }
  Rows chosen(rows, columns);
  for (const SequenceRows& sequence : sequences) {
    if (sequence.count > last) return BadInput("a text of {} tokens, but {} positions", sequence.count, last);
    for (int64_t p = 0; p < sequence.count; ++p)
      for (int64_t i = 0; i < columns; ++i)
        chosen.row(sequence.first + p)[i] = static_cast<double>(table[static_cast<size_t>(p * columns + i)]);
  }
  return walker->Step(layer, "srte", [&](const Side& s) {
    return learnt ? s.Exactly(chosen) : s.Product(chosen, basis, s.Products(basis), nullptr);
  });
}

Status FusionOracle::WalkMamba(Walker* walker, const Sequences& sequences, int layer,
                               const std::string& p) const {
  const Config& c = config_;
  const bool timed = c.srte != "none";
  if (timed && !c.OneEncoding()) FT_RETURN_IF_ERROR(WalkTime(walker, sequences, layer, p));
  FT_ASSIGN_OR_RETURN(const OracleMixer mixer, ReadMixer(tensors_, p + "mamba.",
                                                         {c.hidden_size, c.inner, c.state_size, c.conv_kernel,
                                                          c.time_step_rank, c.ssm_norm, c.norm_eps}));
  FT_RETURN_IF_ERROR(WalkMixer(walker, mixer, sequences, layer, [&](const Side& s) {
    return timed ? s.Sum("norm_in", "srte") : s.at("norm_in");
  }));
  FT_RETURN_IF_ERROR(walker->Step(layer, "mamba_out", [&](const Side& s) {
    return s.Product("scan", mixer.out, s.Products(mixer.out), nullptr);
  }));
  if (!c.branch_norm) return base::OkStatus();
  return WalkNorm(walker, layer, "norm_m", p + "norm_m", false,
                  [](const Side& s) { return s.at("mamba_out"); });
}

Status FusionOracle::WalkAttention(Walker* walker, const Sequences& sequences, int layer,
                                   const std::string& p) const {
  const Config& c = config_;
  const std::string prefix = p + "attn.";
  const bool local = c.layer_types[static_cast<size_t>(layer)] == "local";
  const int64_t globals = local ? 0 : c.global_heads, heads = c.num_heads - c.global_heads + globals;
  const int64_t kv_heads = heads / (c.num_heads / c.num_kv_heads), d = c.head_dim;
  const char* input = "norm_in";
  if (c.serial) {
    const char* before = MambaValue(layer);
    FT_RETURN_IF_ERROR(WalkNorm(walker, layer, "norm_mid", p + "norm_mid", c.layer_norm, [&](const Side& s) {
      return before ? s.Sum("stream", before) : s.at("stream");
    }));
    input = "norm_mid";
  }
  if (c.attn_conv_kernel > 0) {
    FT_ASSIGN_OR_RETURN(const std::vector<float> taps,
                        tensors_.Vector(prefix + "conv.weight", c.hidden_size * c.attn_conv_kernel));
    FT_RETURN_IF_ERROR(walker->Step(layer, "attn_conv", [&](const Side& s) {
      return s.math.Convolve(s.at(input), sequences, taps, {}, true);
    }));
    input = "attn_conv";
  }
  FT_ASSIGN_OR_RETURN(const OracleMatrix q, tensors_.Matrix(prefix + "q_proj", heads * d, c.hidden_size));
  FT_ASSIGN_OR_RETURN(const OracleMatrix k, tensors_.Matrix(prefix + "k_proj", kv_heads * d, c.hidden_size));
  FT_ASSIGN_OR_RETURN(const OracleMatrix v, tensors_.Matrix(prefix + "v_proj", kv_heads * d, c.hidden_size));
  FT_ASSIGN_OR_RETURN(const OracleMatrix o, tensors_.Matrix(prefix + "o_proj", c.hidden_size, heads * d));
  for (const auto& [op, w] : {std::pair{"q_proj", &q}, {"k_proj", &k}, {"v_proj", &v}}) {
    FT_RETURN_IF_ERROR(walker->Step(layer, op, [&, matrix = w](const Side& s) {
      return s.Product(input, *matrix, s.Products({q.type, k.type, v.type}), nullptr);
    }));
  }
  for (const auto& [op, from] : {std::pair{"q_rope", "q_proj"}, {"k_rope", "k_proj"}}) {
    FT_RETURN_IF_ERROR(walker->Step(layer, op, [&, name = from](const Side& s) {
      return s.math.Rope(s.at(name), sequences, rope_, true);
    }));
  }
  const AttentionShape shape{heads, kv_heads, d, c.windows[static_cast<size_t>(layer)], globals};
  FT_RETURN_IF_ERROR(walker->Step(layer, "attention", [&](const Side& s) {
    return s.math.Attention(s.at("q_rope"), s.at("k_rope"), s.at("v_proj"), sequences, shape, s.Cache());
  }));
  FT_RETURN_IF_ERROR(walker->Step(
      layer, "attn_out", [&](const Side& s) { return s.Product("attention", o, s.Products(o), nullptr); }));
  if (!c.branch_norm) return base::OkStatus();
  return WalkNorm(walker, layer, "norm_a", p + "norm_a", false,
                  [](const Side& s) { return s.at("attn_out"); });
}

Status FusionOracle::WalkAlignment(Walker* walker, int layer, const std::string& p) const {
  const int64_t hidden = config_.hidden_size;
  const char *mamba = MambaValue(layer), *attention = AttentionValue(layer);
  if (!config_.aligned) {
    return walker->Step(layer, "align", [&](const Side& s) {
      return s.math.Half(mamba ? &s.at(mamba) : nullptr, attention ? &s.at(attention) : nullptr);
    });
  }
  const auto both = [&](const Side& s) {
    if (mamba && attention) return Joined(s.at(mamba), s.at(attention));
    return s.at(mamba ? mamba : attention);
  };
  const int64_t wide = mamba && attention ? 2 * hidden : hidden;
  FT_ASSIGN_OR_RETURN(const OracleMatrix w1, tensors_.Matrix(p + "fuse.w1", hidden, wide));
  FT_ASSIGN_OR_RETURN(const OracleMatrix wr, tensors_.Matrix(p + "fuse.wr", hidden, wide));
  FT_ASSIGN_OR_RETURN(const OracleMatrix w2, tensors_.Matrix(p + "fuse.w2", hidden, hidden));
  FT_RETURN_IF_ERROR(walker->Step(layer, "align_act", [&](const Side& s) {
    return s.math.Apply(s.Product(both(s), w1, s.Products(w1), nullptr), Curve::kGelu);
  }));
  FT_RETURN_IF_ERROR(walker->Step(
      layer, "align_wr", [&](const Side& s) { return s.Product(both(s), wr, s.Products(wr), nullptr); }));
  return walker->Step(layer, "align", [&](const Side& s) {
    return s.Product("align_act", w2, s.Products(w2), &s.at("align_wr"));
  });
}

Status FusionOracle::WalkGate(Walker* walker, int layer, const std::string& p) const {
  const Config& c = config_;
  const bool gated = c.gate != "none";
  if (gated) {
    const int64_t gates = c.gate == "token" ? 1 : c.hidden_size;
    FT_ASSIGN_OR_RETURN(const OracleMatrix gu, tensors_.Matrix(p + "gate.gu", c.gate_rank, c.hidden_size));
    FT_ASSIGN_OR_RETURN(const OracleMatrix gd, tensors_.Matrix(p + "gate.gd", gates, c.gate_rank));
    FT_RETURN_IF_ERROR(walker->Step(layer, "gate_act", [&](const Side& s) {
      return s.math.Apply(s.Product("align", gu, s.Products(gu), nullptr), Curve::kTanh);
    }));
    FT_RETURN_IF_ERROR(walker->Step(layer, "gate", [&](const Side& s) {
      return s.math.Apply(s.Product("gate_act", gd, s.Products(gd), nullptr), Curve::kSigmoid);
    }));
  }
  return walker->Step(layer, "fused", [&](const Side& s) {
    return s.math.Mix(gated ? &s.at("gate") : nullptr, s.at(MambaValue(layer)), s.at(AttentionValue(layer)));
  });
}

Status FusionOracle::WalkLayer(Walker* walker, const Sequences& sequences, int64_t i) const {
  const Config& c = config_;
  const int64_t hidden = c.hidden_size;
  const int layer = static_cast<int>(i);
  const bool mamba = c.HasMamba(i), attention = c.HasAttention(i);
  const std::string p = fmt::format("model.layers.{}.", i);
  if (mamba || !c.serial)
    FT_RETURN_IF_ERROR(WalkNorm(walker, layer, "norm_in", p + "norm_in", c.layer_norm,
                                [](const Side& s) { return s.at("stream"); }));
  if (mamba) FT_RETURN_IF_ERROR(WalkMamba(walker, sequences, layer, p));
  if (attention) FT_RETURN_IF_ERROR(WalkAttention(walker, sequences, layer, p));
  FT_RETURN_IF_ERROR(WalkAlignment(walker, layer, p));
  if (mamba && attention) FT_RETURN_IF_ERROR(WalkGate(walker, layer, p));
  const char* mixed = mamba && attention ? "fused" : mamba ? MambaValue(layer) : AttentionValue(layer);
  FT_ASSIGN_OR_RETURN(const OracleMatrix wf, tensors_.Matrix(p + "fuse.wf", hidden, hidden));
  FT_ASSIGN_OR_RETURN(const OracleMatrix m1, tensors_.Matrix(p + "mlp.m1", 2 * hidden, hidden));
  FT_ASSIGN_OR_RETURN(const OracleMatrix m2, tensors_.Matrix(p + "mlp.m2", hidden, 2 * hidden));
  FT_RETURN_IF_ERROR(walker->Step(layer, "fuse_out", [&](const Side& s) {
    return s.Product(mixed, wf, s.Products(wf), &s.at("stream"));
  }));
  FT_RETURN_IF_ERROR(walker->Step(layer, "mlp_act", [&](const Side& s) {
    return s.math.Apply(s.Product("align", m1, s.Products(m1), nullptr), Curve::kGelu);
  }));
  FT_RETURN_IF_ERROR(walker->Step(layer, "mlp_out", [&](const Side& s) {
    return s.Product("mlp_act", m2, s.Products(m2), &s.at("fuse_out"));
  }));
  if (c.post)
    return WalkNorm(walker, layer, "layer_out", p + "norm_out", c.layer_norm,
                    [](const Side& s) { return s.at("mlp_out"); });
  return walker->Step(layer, "layer_out", [](const Side& s) { return s.Exactly(s.at("mlp_out")); });
}

}  // namespace

Result<std::unique_ptr<Oracle>> OpenFusionOracle(const checkpoint::Checkpoint* checkpoint,
                                                 const nlohmann::json& json, int threads) {
  FT_ASSIGN_OR_RETURN(OracleFusionConfig config, ReadOracleFusionConfig(json));
  return std::unique_ptr<Oracle>(std::make_unique<FusionOracle>(checkpoint, std::move(config), threads));
}

}  // namespace fusiontree::verify
