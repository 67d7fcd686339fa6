// How the oracle walks through the operations of any family: what each is given, and its two ways.
#ifndef FUSIONTREE_VERIFY_ORACLE_WALK_H_
#define FUSIONTREE_VERIFY_ORACLE_WALK_H_

#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "verify/oracle.h"
#include "verify/oracle_tensors.h"

namespace fusiontree::verify {

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
  Rounding Products(const OracleMatrix& w) const { return Products({w.type}); }
  Bounded Product(std::string_view input, const OracleMatrix& w, Rounding rounding,
                  const Rows* residual) const {
    return Product(at(input), w, rounding, residual);
  }
  Bounded Product(const Rows& input, const OracleMatrix& w, Rounding rounding, const Rows* residual) const {
    const Rows x = math.Rounded(input, rounding);
    if (rounding == Rounding::kNone || w.type == tensor::DType::kBF16)
      return math.Product(x, w.exact, w.bias, residual);
    Weight rounded = w.exact;
    RoundToBf16(&rounded.values);
    return math.Product(x, rounded, w.bias, residual);
  }
  // a + b, as the engine stores it: not an operation of its own.
  Rows Sum(std::string_view a, std::string_view b) const {
    Rows out = at(a);
    const Rows& other = at(b);
    for (size_t i = 0; i < out.values.size(); ++i) {
      double& y = out.values[i];
      y += other.values[i];
      if (precision) y = static_cast<double>(static_cast<float>(y));
    }
    return out;
  }
  // An exact copy.
  Bounded Exactly(Rows x) const {
    Bounded out{std::move(x), {}};
    if (precision) out.bound = Rows(out.value.rows, out.value.columns);
    return out;
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
  base::Status Step(int layer, const char* op, F f) {
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
    return base::OkStatus();
  }
  // Outlives its layer.
  void Keep(const char* op) { kept_ = op; }
  // The value of `op` becomes the residual stream, and the layer's other values are forgotten.
  void NextLayer(const char* op) {
    for (Values* values : {&truth_, &given_}) {
      if (values == &given_ && !engine_) continue;
      Rows stream = std::move((*values)[op]);
      std::erase_if(*values, [&](const auto& value) { return value.first != kept_; });
      (*values)["stream"] = std::move(stream);
    }
  }

 private:
  OracleMath exact_, bounded_;
  const EngineValues& engine_;
  const Precision& precision_;
  const OracleSink& sink_;
  Values truth_, given_;
  std::string kept_;
};

}  // namespace fusiontree::verify

#endif  // FUSIONTREE_VERIFY_ORACLE_WALK_H_
