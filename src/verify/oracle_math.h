// The decoder's operations in plain double precision, each with a bound on how far an honest implementation
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
  int64_t window;  // 0: sees all
};

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
  // Half rotation of each head of 2 * frequencies.size() columns by position * frequency.
  Bounded Rope(const Rows& x, const std::vector<SequenceRows>& sequences,
               const std::vector<double>& frequencies) const;
  // softmax(q kᵀ / sqrt(d)) v, causal, within the window; with kBf16, q, k, v are rounded and p may be.
  Bounded Attention(const Rows& q, const Rows& k, const Rows& v, const std::vector<SequenceRows>& sequences,
                    const AttentionShape& shape, Rounding rounding) const;

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
