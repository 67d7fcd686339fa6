#include "verify/oracle_math.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <thread>

#include "tensor/dtype.h"

namespace fusiontree::verify {
namespace {

// The product works on blocks of 8 rows side by side (vectorisable without reordering a sum) and on 256 k at
// a time, so that the rows of a chunk stay in the second-level cache while all outputs pass.
constexpr int64_t kBlockRows = 8;
constexpr int64_t kChunk = 256;
using Pair = double __attribute__((vector_size(16)));

double Length(const double* x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i] * x[i];
  return std::sqrt(sum);
}
double Length(const float* x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return std::sqrt(sum);
}
double DotError(int64_t k) { return (2.0 * std::sqrt(static_cast<double>(k)) + 8.0) * kUnit; }

// x as [block][k][8], missing rows zero.
std::vector<double> Interleave(const Rows& x) {
  const int64_t blocks = (x.rows + kBlockRows - 1) / kBlockRows;
  std::vector<double> out(static_cast<size_t>(blocks * x.columns * kBlockRows));
  for (int64_t r = 0; r < x.rows; ++r) {
    double* to = out.data() + r / kBlockRows * x.columns * kBlockRows + r % kBlockRows;
    const double* from = x.row(r);
    for (int64_t k = 0; k < x.columns; ++k) to[k * kBlockRows] = from[k];
  }
  return out;
}

// Adds 8 rows times two outputs over `n` terms to sum[2][8].
void AddTile(const double* x, const double* w0, const double* w1, int64_t n, double* sum) {
  Pair a0 = {sum[0], sum[1]}, a1 = {sum[2], sum[3]}, a2 = {sum[4], sum[5]}, a3 = {sum[6], sum[7]};
  Pair b0 = {sum[8], sum[9]}, b1 = {sum[10], sum[11]}, b2 = {sum[12], sum[13]}, b3 = {sum[14], sum[15]};
  for (int64_t k = 0; k < n; ++k) {
    const double* at = x + k * kBlockRows;
    const Pair x0 = {at[0], at[1]}, x1 = {at[2], at[3]}, x2 = {at[4], at[5]}, x3 = {at[6], at[7]};
    const Pair u = {w0[k], w0[k]}, v = {w1[k], w1[k]};
    a0 += x0 * u, a1 += x1 * u, a2 += x2 * u, a3 += x3 * u;
    b0 += x0 * v, b1 += x1 * v, b2 += x2 * v, b3 += x3 * v;
  }
  const Pair all[8] = {a0, a1, a2, a3, b0, b1, b2, b3};
  for (int i = 0; i < 16; ++i) sum[i] = all[i / 2][i % 2];
}

// y [T, N] columns [begin, end), begin even.
void ProductColumns(const std::vector<double>& x, const Weight& w, int64_t begin, int64_t end, Rows* y) {
  const int64_t blocks = (y->rows + kBlockRows - 1) / kBlockRows;
  std::vector<double> sums(static_cast<size_t>((end - begin + 1) / 2 * blocks * 16));
  double pair[2][kChunk];
  for (int64_t first = 0; first < w.columns; first += kChunk) {
    const int64_t n = std::min(kChunk, w.columns - first);
    double* sum = sums.data();
    for (int64_t column = begin; column < end; column += 2) {
      for (int64_t i = 0; i < 2; ++i) {
        const float* row = w.values.data() + std::min(column + i, end - 1) * w.columns + first;
        for (int64_t k = 0; k < n; ++k) pair[i][k] = static_cast<double>(row[k]);
      }
      for (int64_t block = 0; block < blocks; ++block, sum += 16)
        AddTile(x.data() + (block * w.columns + first) * kBlockRows, pair[0], pair[1], n, sum);
    }
  }
  for (int64_t r = 0; r < y->rows; ++r)
    for (int64_t c = begin; c < end; ++c)
      y->row(r)[c] = sums[static_cast<size_t>((((c - begin) / 2 * blocks) + r / kBlockRows) * 16 +
                                              (c - begin) % 2 * 8 + r % kBlockRows)];
}

}  // namespace

void RoundToBf16(std::vector<float>* values) {
  for (float& value : *values) value = tensor::Bf16ToFloat(tensor::FloatToBf16(value));
}

void OracleMath::Parallel(int64_t n, const std::function<void(int64_t, int64_t)>& f) const {
  const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(threads_, n));
  std::vector<std::thread> others;
  for (int64_t part = 1; part < parts; ++part)
    others.emplace_back([&f, n, part, parts] { f(n * part / parts, n * (part + 1) / parts); });
  f(0, n / parts);
  for (std::thread& other : others) other.join();
}

Rows OracleMath::Rounded(const Rows& x, Rounding rounding) const {
  Rows out = x;
  if (rounding == Rounding::kBf16)
    for (double& value : out.values)
      value = static_cast<double>(tensor::Bf16ToFloat(tensor::FloatToBf16(static_cast<float>(value))));
  return out;
}

Bounded OracleMath::Product(const Rows& x, const Weight& w, const std::vector<float>& bias,
                            const Rows* residual) const {
  Bounded out;
  out.value = Rows(x.rows, w.rows);
  const std::vector<double> blocks = Interleave(x);
  Parallel((w.rows + 1) / 2, [&](int64_t begin, int64_t end) {
    if (begin < end) ProductColumns(blocks, w, 2 * begin, std::min(2 * end, w.rows), &out.value);
  });
  std::vector<double> x_norms, w_norms(static_cast<size_t>(w.rows));
  if (bounds_) {
    out.bound = Rows(x.rows, w.rows);
    for (int64_t r = 0; r < x.rows; ++r) x_norms.push_back(Length(x.row(r), x.columns));
    Parallel(w.rows, [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c)
        w_norms[static_cast<size_t>(c)] = Length(w.values.data() + c * w.columns, w.columns);
    });
  }
  const double relative = DotError(w.columns);
  Parallel(x.rows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t c = 0; c < w.rows; ++c) {
        double& y = out.value.row(r)[c];
        const double product = y;
        if (!bias.empty()) y += static_cast<double>(bias[static_cast<size_t>(c)]);
        const double biased = y;
        if (residual) y += residual->row(r)[c];
        if (bounds_)  // the sum, then one rounding each for bias and residual
          out.bound.row(r)[c] = relative * x_norms[static_cast<size_t>(r)] * w_norms[static_cast<size_t>(c)] +
                                2 * kUnit * (std::fabs(product) + std::fabs(biased) + std::fabs(y)) + kTiny;
      }
    }
  });
  return out;
}

Bounded OracleMath::SiluMul(const Bounded& gate, const Bounded& up) const {
  Bounded out;
  out.value = Rows(gate.value.rows, gate.value.columns);
  if (bounds_) out.bound = Rows(gate.value.rows, gate.value.columns);
  for (size_t i = 0; i < out.value.values.size(); ++i) {
    const double g = gate.value.values[i], u = up.value.values[i];
    const double silu = g / (1.0 + std::exp(-g));
    out.value.values[i] = silu * u;
    // |silu'| <= 1.1. exp, sum, division and product round a few times; exp also passes on |g| u of its
    // argument.
    if (bounds_)
      out.bound.values[i] = 1.1 * gate.bound.values[i] * (std::fabs(u) + up.bound.values[i]) +
                            std::fabs(silu) * up.bound.values[i] +
                            std::fabs(silu * u) * (12.0 + 2.0 * std::fabs(g)) * kUnit +
                            kTiny * (1.0 + std::fabs(u));
  }
  return out;
}

Bounded OracleMath::RmsNorm(const Rows& x, const std::vector<float>& w, double eps) const {
  const int64_t n = static_cast<int64_t>(w.size());
  Bounded out;
  out.value = Rows(x.rows, x.columns);
  if (bounds_) out.bound = Rows(x.rows, x.columns);
  // Squares are positive and summed over 16 lanes: sqrt(n) / 2 covers every order of summation in use.
  const double relative = (0.5 * std::sqrt(static_cast<double>(n)) + 8.0) * kUnit;
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t first = 0; first < x.columns; first += n) {
      const double* from = x.row(r) + first;
      double sum = 0;
      for (int64_t i = 0; i < n; ++i) sum += from[i] * from[i];
      const double scale = 1.0 / std::sqrt(sum / static_cast<double>(n) + eps);
      for (int64_t i = 0; i < n; ++i) {
        const double y = from[i] * scale * static_cast<double>(w[static_cast<size_t>(i)]);
        out.value.row(r)[first + i] = y;
        if (bounds_) out.bound.row(r)[first + i] = relative * std::fabs(y) + kTiny;
      }
    }
  }
  return out;
}

Bounded OracleMath::Rope(const Rows& x, const std::vector<SequenceRows>& sequences,
                         const std::vector<double>& frequencies, bool fp32_angles) const {
  const int64_t half = static_cast<int64_t>(frequencies.size());
  Bounded out;
  out.value = Rows(x.rows, x.columns);
  if (bounds_) out.bound = Rows(x.rows, x.columns);
  for (const SequenceRows& sequence : sequences) {
    for (int64_t position = 0; position < sequence.count; ++position) {
      const int64_t r = sequence.first + position;
      for (int64_t i = 0; i < half; ++i) {
        double angle = static_cast<double>(position) * frequencies[static_cast<size_t>(i)];
        if (fp32_angles) angle = static_cast<double>(static_cast<float>(angle));
        const double c = std::cos(angle), s = std::sin(angle);
        // Models are trained with fp32 frequencies and angles (Transformers), which may be 8 u of the angle
        // off.
        const double relative = (4.0 + (fp32_angles ? 0.0 : 8.0 * angle)) * kUnit;
        for (int64_t head = 0; head < x.columns; head += 2 * half) {
          const double a = x.row(r)[head + i], b = x.row(r)[head + i + half];
          out.value.row(r)[head + i] = a * c - b * s;
          out.value.row(r)[head + i + half] = b * c + a * s;
          if (bounds_)
            out.bound.row(r)[head + i] = out.bound.row(r)[head + i + half] =
                relative * (std::fabs(a) + std::fabs(b)) + kTiny;
        }
      }
    }
  }
  return out;
}

Bounded OracleMath::Attention(const Rows& q, const Rows& k, const Rows& v,
                              const std::vector<SequenceRows>& sequences, const AttentionShape& shape,
                              Rounding rounding) const {
  const int64_t d = shape.head_dim, group = shape.heads / shape.kv_heads;
  const double scale = 1.0 / std::sqrt(static_cast<double>(d));
  const Rows queries = Rounded(q, rounding), keys = Rounded(k, rounding), values = Rounded(v, rounding);
  Bounded out;
  out.value = Rows(q.rows, shape.heads * d);
  if (bounds_) out.bound = Rows(q.rows, shape.heads * d);

  const auto one = [&](const SequenceRows& sequence, int64_t position, int64_t head) {
    const bool sees_all = shape.window == 0 || head >= shape.heads - shape.global_heads;
    const int64_t first = sees_all ? 0 : std::max<int64_t>(0, position - shape.window + 1);
    const int64_t n = position + 1 - first, kv = head / group * d;
    const double* query = queries.row(sequence.first + position) + head * d;
    std::vector<double> p(static_cast<size_t>(n)), error(static_cast<size_t>(bounds_ ? n : 0));
    double top = -std::numeric_limits<double>::infinity();
    for (int64_t j = 0; j < n; ++j) {
      const double* key = keys.row(sequence.first + first + j) + kv;
      double dot = 0;
      for (int64_t i = 0; i < d; ++i) dot += query[i] * key[i];
      p[static_cast<size_t>(j)] = dot * scale;
      top = std::max(top, dot * scale);
    }
    const double query_norm = bounds_ ? Length(query, d) : 0;
    // p's own rounding to bf16, exp, and one factor exp(old max - new max) a block of keys.
    const double fixed =
        (rounding == Rounding::kBf16 ? 0x1p-9 : 0.0) + (8.0 + 6.0 * static_cast<double>(n / 64 + 2)) * kUnit;
    double sum = 0, mean_error = 0;
    for (int64_t j = 0; j < n; ++j) {
      double& pj = p[static_cast<size_t>(j)];
      const double score = pj;
      pj = std::exp(score - top);
      sum += pj;
      if (!bounds_) continue;
      const double key_norm = Length(keys.row(sequence.first + first + j) + kv, d);
      const double score_error = DotError(d) * query_norm * key_norm * scale + 4 * kUnit * std::fabs(score) +
                                 4 * kUnit * std::fabs(score - top);
      error[static_cast<size_t>(j)] = std::expm1(std::min(score_error, 50.0)) + fixed;
      mean_error += pj * error[static_cast<size_t>(j)];
    }
    mean_error /= sum;
    double* y = out.value.row(sequence.first + position) + head * d;
    double* bound = bounds_ ? out.bound.row(sequence.first + position) + head * d : nullptr;
    const double summing = DotError(n);
    for (int64_t j = 0; j < n; ++j) {
      const double* value = values.row(sequence.first + first + j) + kv;
      const double weight = p[static_cast<size_t>(j)] / sum;
      for (int64_t i = 0; i < d; ++i) {
        y[i] += weight * value[i];
        if (bound)
          bound[i] +=
              weight * std::fabs(value[i]) * (error[static_cast<size_t>(j)] + mean_error + summing) + kTiny;
      }
    }
  };
  for (const SequenceRows& sequence : sequences) {
    // Heads, not positions, are shared out: every head costs the same.
    Parallel(shape.heads, [&](int64_t begin, int64_t end) {
      for (int64_t head = begin; head < end; ++head)
        for (int64_t position = 0; position < sequence.count; ++position) one(sequence, position, head);
    });
  }
  return out;
}

}  // namespace fusiontree::verify
