#include "verify/oracle_mamba.h"

#include <utility>

#include "models/mamba/config.h"
#include "verify/oracle_json.h"
#include "verify/oracle_mixer.h"

namespace fusiontree::verify {
namespace {

using base::Result;
using base::Status;

struct OracleMambaConfig {
  OracleSizes sizes{};
  OracleMixerShape mixer;
  bool tied = true;
};

class MambaOracle : public Oracle {
 public:
  MambaOracle(const checkpoint::Checkpoint* checkpoint, OracleMambaConfig config, int threads)
      : Oracle(threads), config_(std::move(config)), tensors_(checkpoint, threads) {}

  OracleSizes sizes() const override { return config_.sizes; }
  const char* layer_output() const override { return "layer_out"; }
  std::vector<std::string> Differences(const models::Config& engine) const override {
    const auto* c = dynamic_cast<const models::MambaConfig*>(&engine);
    if (!c) return {fmt::format("family: the oracle reads mamba, the engine {}", engine.family)};
    std::vector<std::string> out;
    const auto compare = [&](const char* name, auto expected, auto got) {
      if (expected != got)
        out.push_back(fmt::format("{}: the oracle reads {}, the engine {}", name, expected, got));
    };
    const OracleMixerShape& m = config_.mixer;
    compare("vocab_size", config_.sizes.vocab, c->vocab_size);
    compare("hidden_size", config_.sizes.hidden, c->hidden_size);
    compare("num_layers", config_.sizes.layers, c->num_layers);
    compare("intermediate_size", m.inner, c->inner);
    compare("state_size", m.state, c->state_size);
    compare("conv_kernel", m.kernel, c->conv_kernel);
    compare("time_step_rank", m.rank, c->time_step_rank);
    compare("layer_norm_epsilon", static_cast<float>(m.eps), static_cast<float>(c->norm_eps));
    compare("tie_word_embeddings", config_.tied, c->tie_word_embeddings);
    return out;
  }

 private:
  Result<OracleMatrix> Embedding() const override {
    return tensors_.Matrix("backbone.embeddings", config_.sizes.vocab, config_.sizes.hidden);
  }
  Result<OracleMatrix> Head() const override {
    return config_.tied ? Embedding() : tensors_.Matrix("lm_head", config_.sizes.vocab, config_.sizes.hidden);
  }
  Result<OracleNorm> FinalNorm() const override { return Norm("backbone.norm_f"); }
  Result<OracleNorm> Norm(const std::string& stem) const {
    OracleNorm norm;
    FT_ASSIGN_OR_RETURN(norm.weight, tensors_.Vector(stem + ".weight", config_.sizes.hidden));
    norm.eps = config_.mixer.eps;
    return norm;
  }
  Status WalkLayer(Walker* walker, const std::vector<SequenceRows>& sequences, int64_t i) const override {
    const std::string prefix = fmt::format("backbone.layers.{}.", i);
    const int layer = static_cast<int>(i);
    FT_ASSIGN_OR_RETURN(const OracleNorm norm, Norm(prefix + "norm"));
    FT_ASSIGN_OR_RETURN(const OracleMixer mixer, ReadMixer(tensors_, prefix + "mixer.", config_.mixer));
    FT_RETURN_IF_ERROR(
        walker->Step(layer, "norm_in", [&](const Side& s) { return s.math.Norm(s.at("stream"), norm); }));
    FT_RETURN_IF_ERROR(
        WalkMixer(walker, mixer, sequences, layer, [](const Side& s) { return s.at("norm_in"); }));
    return walker->Step(layer, "layer_out", [&](const Side& s) {
      return s.Product("scan", mixer.out, s.Products(mixer.out), &s.at("stream"));
    });
  }

  OracleMambaConfig config_;
  OracleTensors tensors_;
};

}  // namespace

Result<std::unique_ptr<Oracle>> OpenMambaOracle(const checkpoint::Checkpoint* checkpoint,
                                                const nlohmann::json& json, int threads) {
  OracleMambaConfig c;
  c.sizes = {Integer(json, "vocab_size", 0), Integer(json, "hidden_size", 0),
             Integer(json, "num_hidden_layers", 0)};
  OracleMixerShape& m = c.mixer;
  m.hidden = c.sizes.hidden;
  m.inner = Integer(json, "intermediate_size", Integer(json, "expand", 2) * m.hidden);
  m.state = Integer(json, "state_size", 16);
  m.kernel = Integer(json, "conv_kernel", 4);
  m.rank = Integer(json, "time_step_rank", (m.hidden + 15) / 16);  // also where it is "auto"
  m.eps = Number(json, "layer_norm_epsilon", 1e-5);
  c.tied = Flag(json, "tie_word_embeddings", true);
  for (const int64_t size : {c.sizes.vocab, m.hidden, c.sizes.layers, m.inner, m.state, m.kernel, m.rank})
    if (size < 1 || size > int64_t{1} << 31)
      return base::BadInput("the config's sizes must be 1 or more, got {}", size);
  return std::unique_ptr<Oracle>(std::make_unique<MambaOracle>(checkpoint, std::move(c), threads));
}

}  // namespace fusiontree::verify
