#include "verify/oracle_decoder.h"

#include <utility>

#include "verify/oracle_config.h"
#include "verify/oracle_walk.h"
#include "verify/oracle_weights.h"

namespace fusiontree::verify {
namespace {

using base::Result;
using base::Status;

Status WalkDecoderLayer(Walker* walker, const OracleConfig& c, const OracleLayer& w,
                        const std::vector<SequenceRows>& sequences, int i) {
  const bool norms = !w.q_norm.empty();
  const AttentionShape shape{c.num_heads, c.num_kv_heads, c.head_dim, c.windows[static_cast<size_t>(i)]};
  const auto qkv = [&](const Side& s) { return s.Products({w.q.type, w.k.type, w.v.type}); };
  FT_RETURN_IF_ERROR(walker->Step(i, "input_norm", [&](const Side& s) {
    return s.math.RmsNorm(s.at("stream"), w.input_norm, c.norm_eps);
  }));
  FT_RETURN_IF_ERROR(walker->Step(
      i, "q_proj", [&](const Side& s) { return s.Product("input_norm", w.q, qkv(s), nullptr); }));
  FT_RETURN_IF_ERROR(walker->Step(
      i, "k_proj", [&](const Side& s) { return s.Product("input_norm", w.k, qkv(s), nullptr); }));
  FT_RETURN_IF_ERROR(walker->Step(
      i, "v_proj", [&](const Side& s) { return s.Product("input_norm", w.v, qkv(s), nullptr); }));
  if (norms) {
    FT_RETURN_IF_ERROR(walker->Step(
        i, "q_norm", [&](const Side& s) { return s.math.RmsNorm(s.at("q_proj"), w.q_norm, c.norm_eps); }));
    FT_RETURN_IF_ERROR(walker->Step(
        i, "k_norm", [&](const Side& s) { return s.math.RmsNorm(s.at("k_proj"), w.k_norm, c.norm_eps); }));
  }
  FT_RETURN_IF_ERROR(walker->Step(i, "q_rope", [&](const Side& s) {
    return s.math.Rope(s.at(norms ? "q_norm" : "q_proj"), sequences, c.inverse_frequencies);
  }));
  FT_RETURN_IF_ERROR(walker->Step(i, "k_rope", [&](const Side& s) {
    return s.math.Rope(s.at(norms ? "k_norm" : "k_proj"), sequences, c.inverse_frequencies);
  }));
  FT_RETURN_IF_ERROR(walker->Step(i, "attention", [&](const Side& s) {
    return s.math.Attention(s.at("q_rope"), s.at("k_rope"), s.at("v_proj"), sequences, shape, s.Cache());
  }));
  FT_RETURN_IF_ERROR(walker->Step(i, "o_proj", [&](const Side& s) {
    return s.Product("attention", w.o, s.Products({w.o.type}), &s.at("stream"));
  }));
  FT_RETURN_IF_ERROR(walker->Step(i, "post_norm", [&](const Side& s) {
    return s.math.RmsNorm(s.at("o_proj"), w.post_norm, c.norm_eps);
  }));
  FT_RETURN_IF_ERROR(walker->Step(i, "mlp_act", [&](const Side& s) {
    const Rounding rounding = s.Products({w.gate.type, w.up.type});
    return s.math.SiluMul(s.Product("post_norm", w.gate, rounding, nullptr),
                          s.Product("post_norm", w.up, rounding, nullptr));
  }));
  FT_RETURN_IF_ERROR(walker->Step(i, "down_proj", [&](const Side& s) {
    return s.Product("mlp_act", w.down, s.Products({w.down.type}), &s.at("o_proj"));
  }));
  return base::OkStatus();
}

class DecoderOracle : public Oracle {
 public:
  DecoderOracle(const checkpoint::Checkpoint* checkpoint, OracleConfig config, int threads)
      : Oracle(threads), config_(std::move(config)), weights_(checkpoint, &config_, threads) {}

  OracleSizes sizes() const override { return {config_.vocab_size, config_.hidden_size, config_.num_layers}; }
  const char* layer_output() const override { return "down_proj"; }
  std::vector<std::string> Differences(const models::Config& engine) const override {
    const auto* decoder = dynamic_cast<const models::DecoderConfig*>(&engine);
    if (!decoder) return {fmt::format("family: the oracle reads a decoder, the engine {}", engine.family)};
    return ConfigDifferences(config_, *decoder);
  }

 private:
  Result<OracleMatrix> Embedding() const override { return weights_.Embedding(); }
  Result<OracleMatrix> Head() const override { return weights_.Head(); }
  Result<OracleNorm> FinalNorm() const override {
    OracleNorm norm;
    FT_ASSIGN_OR_RETURN(norm.weight, weights_.FinalNorm());
    norm.eps = config_.norm_eps;
    return norm;
  }
  Status WalkLayer(Walker* walker, const std::vector<SequenceRows>& sequences, int64_t i) const override {
    FT_ASSIGN_OR_RETURN(const OracleLayer layer, weights_.Layer(i));
    return WalkDecoderLayer(walker, config_, layer, sequences, static_cast<int>(i));
  }

  OracleConfig config_;
  OracleWeights weights_;
};

}  // namespace

Result<std::unique_ptr<Oracle>> OpenDecoderOracle(const checkpoint::Checkpoint* checkpoint, int threads) {
  FT_ASSIGN_OR_RETURN(OracleConfig config, ReadOracleConfig(*checkpoint));
  return std::unique_ptr<Oracle>(std::make_unique<DecoderOracle>(checkpoint, std::move(config), threads));
}

}  // namespace fusiontree::verify
