#include "verify/oracle.h"

#include <initializer_list>
#include <utility>

namespace fusiontree::verify {
namespace {

using base::BadInput;
using base::OkStatus;
using base::Result;
using base::Status;

// Values of the current layer by operation; "stream" is the residual stream that entered it.
using Values = std::map<std::string, Rows, std::less<>>;

// One of the two ways through an operation.
struct Side {
  const OracleMath& math;
  const Values& values;
  const Precision* precision;  // null: nothing is rounded

  const Rows& at(std::string_view op) const { return values.find(op)->second; }
  // Of matrices that share their input: all in bf16 or none.
  Rounding Products(std::initializer_list<tensor::DType> types) const {
    if (!precision || precision->products == Precision::Products::kF32) return Rounding::kNone;
    if (precision->products == Precision::Products::kBf16) return Rounding::kBf16;
    for (const tensor::DType type : types)
      if (type != tensor::DType::kBF16 && !tensor::IsQuantised(type)) return Rounding::kNone;
    return Rounding::kBf16;
  }
  Bounded Product(std::string_view input, const OracleMatrix& w, Rounding rounding,
                  const Rows* residual) const {
    const Rows x = math.Rounded(at(input), rounding);
    if (rounding == Rounding::kNone || w.type == tensor::DType::kBF16)
      return math.Product(x, w.exact, w.bias, residual);
    Weight rounded = w.exact;
    RoundToBf16(&rounded.values);
    return math.Product(x, rounded, w.bias, residual);
  }
  Rounding Cache() const { return precision && precision->bf16_cache ? Rounding::kBf16 : Rounding::kNone; }
};

class Walker {
 public:
  Walker(int threads, const EngineValues& engine, const Precision& precision, const OracleSink& sink)
      : exact_(threads, false),
        bounded_(threads, true),
        engine_(engine),
        precision_(precision),
        sink_(sink) {}

  // f(side) is the operation; its value is kept under its name on both sides.
  template <typename F>
  Status Step(int layer, const char* op, F f) {
    Bounded truth = f(Side{exact_, truth_, nullptr});
    Bounded local;
    if (engine_) {
      local = f(Side{bounded_, given_, &precision_});
      FT_ASSIGN_OR_RETURN(given_[op], engine_(layer, op));
      if (given_[op].rows != truth.value.rows || given_[op].columns != truth.value.columns)
        return base::Failed("layer {} {}: the engine reports [{}, {}], expected [{}, {}]", layer, op,
                            given_[op].rows, given_[op].columns, truth.value.rows, truth.value.columns);
    }
    FT_RETURN_IF_ERROR(sink_(OracleStep{layer, op, truth.value, engine_ ? &local : nullptr}));
    truth_[op] = std::move(truth.value);
    return OkStatus();
  }
  // The value of `op` becomes the residual stream, and the layer's other values are forgotten.
  void NextLayer(const char* op) {
    for (Values* values : {&truth_, &given_}) {
      if (values == &given_ && !engine_) continue;
      Rows stream = std::move((*values)[op]);
      values->clear();
      (*values)["stream"] = std::move(stream);
    }
  }

 private:
  OracleMath exact_, bounded_;
  const EngineValues& engine_;
  const Precision& precision_;
  const OracleSink& sink_;
  Values truth_, given_;
};

Status WalkLayer(Walker* walker, const OracleConfig& c, const OracleLayer& w,
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
  walker->NextLayer("down_proj");
  return OkStatus();
}

}  // namespace

Result<Oracle> Oracle::Open(const checkpoint::Checkpoint* checkpoint, int threads) {
  FT_ASSIGN_OR_RETURN(OracleConfig config, ReadOracleConfig(*checkpoint));
  return Oracle(checkpoint, std::move(config), threads);
}

Status Oracle::Walk(const std::vector<std::vector<int32_t>>& sequences, const EngineValues& engine,
                    const Precision& precision, const OracleSink& sink) const {
  const OracleConfig& c = config_;
  std::vector<int32_t> ids;
  std::vector<SequenceRows> rows;
  for (const std::vector<int32_t>& sequence : sequences) {
    rows.push_back({static_cast<int64_t>(ids.size()), static_cast<int64_t>(sequence.size())});
    ids.insert(ids.end(), sequence.begin(), sequence.end());
  }
  for (const int32_t id : ids)
    if (id < 0 || id >= c.vocab_size)
      return BadInput("token id {} is outside the vocabulary of {}", id, c.vocab_size);

  const OracleWeights weights(checkpoint_, &c, threads_);
  Walker walker(threads_, engine, precision, sink);
  {
    FT_ASSIGN_OR_RETURN(const OracleMatrix embedding, weights.Embedding());
    FT_RETURN_IF_ERROR(walker.Step(-1, "embed", [&](const Side& s) {
      Bounded out;
      out.value = Rows(static_cast<int64_t>(ids.size()), c.hidden_size);
      for (size_t r = 0; r < ids.size(); ++r)
        for (int64_t i = 0; i < c.hidden_size; ++i)
          out.value.row(static_cast<int64_t>(r))[i] = static_cast<double>(
              embedding.exact.values[static_cast<size_t>(int64_t{ids[r]} * c.hidden_size + i)]);
      out.value = s.math.Rounded(out.value, s.Products({embedding.type}));
      if (s.precision) out.bound = Rows(out.value.rows, out.value.columns);  // zero: a copy
      return out;
    }));
  }
  walker.NextLayer("embed");
  for (int64_t i = 0; i < c.num_layers; ++i) {
    FT_ASSIGN_OR_RETURN(const OracleLayer layer, weights.Layer(i));
    FT_RETURN_IF_ERROR(WalkLayer(&walker, c, layer, rows, static_cast<int>(i)));
  }
  FT_ASSIGN_OR_RETURN(const std::vector<float> norm, weights.FinalNorm());
  FT_RETURN_IF_ERROR(walker.Step(
      -1, "final_norm", [&](const Side& s) { return s.math.RmsNorm(s.at("stream"), norm, c.norm_eps); }));
  FT_ASSIGN_OR_RETURN(const OracleMatrix head, weights.Head());
  return walker.Step(-1, "logits", [&](const Side& s) {
    return s.Product("final_norm", head, s.Products({head.type}), nullptr);
  });
}

}  // namespace fusiontree::verify
