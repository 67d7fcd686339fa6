// The models' operations in plain double precision, each with a bound on how far an honest implementation
// in the engine's types may lie from it. Nothing here is shared with ops/ or kernels/.
//
// Bounds (u = 2^-24, half an ulp of fp32). A product of K terms summed in fp32 in any fixed order is within
// (2 sqrt(K) + 8) u |x| |w| of the exact one: by Cauchy-Schwarz |x| |w| >= sum |x_k w_k|, and rounding errors
// of K additions add up as a random walk (Higham and Mary 2019: lambda sqrt(K) u, here lambda = 2 with that
// slack). The rounding of inputs and weights to bf16 is no error but part of the function (R9): the oracle
// rounds too.
#ifndef FUSIONTREE_VERIFY_ORACLE_MATH_H_
#define FUSIONTREE_VERIFY_ORACLE_MATH_H_

#include <cstdint>
#include <functional>
#include <vector>

namespace fusiontree::verify {

// [rows, columns], dense.
struct Rows {
  int64_t rows = 0, columns = 0;
  std::vector<double> values;

  Rows() = default;
  Rows(int64_t r, int64_t c) : rows(r), columns(c), values(static_cast<size_t>(r * c)) {}
  double* row(int64_t r) { return values.data() + r * columns; }
  const double* row(int64_t r) const { return values.data() + r * columns; }
};

// A value and, where asked for, the bound of each element.
struct Bounded {
  Rows value;
  Rows bound;  // same shape, or empty
};

// [rows, columns] as the file holds it, widened exactly; then rounded to bf16 if the engine's products are of
// bf16.
struct Weight {
  int64_t rows = 0, columns = 0;
  std::vector<float> values;
};

enum class Rounding { kNone, kBf16 };

// One sequence among the rows: rows [first, first + count) are its positions 0, 1, ...
struct SequenceRows {
  int64_t first, count;
};

struct AttentionShape {
  int64_t heads, kv_heads, head_dim;
  int64_t window;            // 0: sees all
  int64_t global_heads = 0;  // so many of the last heads see all whatever the window
};

// LayerNorm (x - mean) / sqrt(variance + eps) * weight + bias, or RMSNorm without the mean and the bias.
struct OracleNorm {
  std::vector<float> weight, bias;  // bias: [columns] or empty
  double eps = 0;
  bool layer_norm = false;
};

enum class Curve { kSilu, kGelu, kTanh, kSigmoid, kSoftplus };

// What the selective scan works on: x, delta (after softplus), z [T, D]; b, c [T, N].
struct ScanRows {
  const Rows &x, &delta, &z, &b, &c;
};

constexpr double kUnit = 0x1p-24;
constexpr double kTiny = 1e-30;  // what flushing denormals to zero may cost

class OracleMath {
 public:
  // With `bounds` every result carries its bound; without it `bound` stays empty and inputs are never rounded
  // by default. `threads` >= 1.
  OracleMath(int threads, bool bounds) : threads_(threads), bounds_(bounds) {}

  // Each row of x to nearest even in bf16, or as it is.
  Rows Rounded(const Rows& x, Rounding rounding) const;

  // x [T, K] · w [N, K]ᵀ + bias [N] (empty: none) + residual [T, N] (null: none).
  Bounded Product(const Rows& x, const Weight& w, const std::vector<float>& bias, const Rows* residual) const;
  // silu(gate) * up, both with bounds if asked for.
  Bounded SiluMul(const Bounded& gate, const Bounded& up) const;
  // x / sqrt(mean(x^2) + eps) * w over each run of w.size() columns.
  Bounded RmsNorm(const Rows& x, const std::vector<float>& w, double eps) const;
  // Half rotation of each head of 2 * frequencies.size() columns by position * frequency. With fp32_angles
  // that product, of an fp32 frequency, rounded to fp32 is part of the function; else an error that is
  // allowed.
  Bounded Rope(const Rows& x, const std::vector<SequenceRows>& sequences,
               const std::vector<double>& frequencies, bool fp32_angles = false) const;
  // softmax(q kᵀ / sqrt(d)) v, causal, within the window; with kBf16, q, k, v are rounded and p may be.
  Bounded Attention(const Rows& q, const Rows& k, const Rows& v, const std::vector<SequenceRows>& sequences,
                    const AttentionShape& shape, Rounding rounding) const;

  // ---- oracle_sequence.cc ----

  Bounded LayerNorm(const Rows& x, const OracleNorm& norm) const;
  // Either norm.
  Bounded Norm(const Rows& x, const OracleNorm& norm) const {
    return norm.layer_norm ? LayerNorm(x, norm) : RmsNorm(x, norm.weight, norm.eps);
  }
  // x's bound, if it has one, is passed on.
  Bounded Apply(const Bounded& x, Curve curve) const;
  // Causal, each column by itself: y_t = bias + sum over k < width of taps[column, k] x_{t - width + 1 + k}
  // within the sequence, zeros before it; with `add_input` x_t is added.
  Bounded Convolve(const Rows& x, const std::vector<SequenceRows>& sequences, const std::vector<float>& taps,
                   const std::vector<float>& bias, bool add_input) const;
  // s_t = exp(delta_t a) s_{t-1} + delta_t x_t b_t from zero, y_t = (sum over n of s_t c_t + skip x_t)
  // silu(z_t), with a = -exp(a_log), a_log [D, N], skip [D].
  Bounded Scan(const ScanRows& in, const std::vector<SequenceRows>& sequences,
               const std::vector<float>& a_log, const std::vector<float>& skip) const;
  // g m + (1 - g) a; g [T, columns], [T, 1], or null: one half.
  Bounded Mix(const Rows* g, const Rows& m, const Rows& a) const;
  // (m + a) / 2, of which either may be null: zero.
  Bounded Half(const Rows* m, const Rows* a) const;

  // f(begin, end) over shares of [0, n) on the threads.
  void Parallel(int64_t n, const std::function<void(int64_t, int64_t)>& f) const;

 private:
  int threads_;
  bool bounds_;
};

// In place, to nearest even.
void RoundToBf16(std::vector<float>* values);

}  // namespace fusiontree::verify

#endif  // FUSIONTREE_VERIFY_ORACLE_MATH_H_
