// The operations of FusionTree and Mamba beside those of the decoders: LayerNorm, functions, convolution,
// scan and mixing. Sums of few terms are bounded in full, rounding by rounding; sums of many as in
// oracle_math.h.
#include <algorithm>
#include <cmath>

#include "verify/oracle_math.h"

namespace fusiontree::verify {
namespace {

double Silu(double x) { return x / (1.0 + std::exp(-x)); }

struct CurveRule {
  double (*exact)(double);
  double slope;      // largest |f'|
  double roundings;  // relative error of an honest implementation, in units of kUnit
};
const CurveRule& RuleOf(Curve curve) {
  static const CurveRule kRules[] = {
      {Silu, 1.1, 6},
      {[](double x) { return 0.5 * x * std::erfc(-x * std::sqrt(0.5)); }, 1.13, 10},
      {[](double x) { return std::tanh(x); }, 1.0, 4},
      {[](double x) { return 1.0 / (1.0 + std::exp(-x)); }, 0.25, 5},
      {[](double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }, 1.0, 6}};
  return kRules[static_cast<int>(curve)];
}

}  // namespace

Bounded OracleMath::LayerNorm(const Rows& x, const OracleNorm& norm) const {
  const int64_t n = x.columns;
  Bounded out;
  out.value = Rows(x.rows, n);
  if (bounds_) out.bound = Rows(x.rows, n);
  const double summing = (0.5 * std::sqrt(static_cast<double>(n)) + 8.0) * kUnit;
  for (int64_t r = 0; r < x.rows; ++r) {
    const double* from = x.row(r);
    double sum = 0, sizes = 0, squares = 0;
    for (int64_t i = 0; i < n; ++i) sum += from[i], sizes += std::fabs(from[i]);
    const double mean = sum / static_cast<double>(n), mean_error = summing * sizes / static_cast<double>(n);
    for (int64_t i = 0; i < n; ++i) squares += (from[i] - mean) * (from[i] - mean);
    const double variance = squares / static_cast<double>(n) + norm.eps, scale = 1.0 / std::sqrt(variance);
    // A mean that is e off makes the variance e^2 larger.
    const double relative = summing + 0.5 * mean_error * mean_error / variance;
    for (int64_t i = 0; i < n; ++i) {
      const double w = static_cast<double>(norm.weight[static_cast<size_t>(i)]);
      const double product = (from[i] - mean) * scale * w;
      double& y = out.value.row(r)[i];
      y = product + (norm.bias.empty() ? 0.0 : static_cast<double>(norm.bias[static_cast<size_t>(i)]));
      if (bounds_)
        out.bound.row(r)[i] = relative * std::fabs(product) + mean_error * std::fabs(scale * w) +
                              kUnit * (2.0 * std::fabs(product) + std::fabs(y)) + kTiny;
    }
  }
  return out;
}

Bounded OracleMath::Apply(const Bounded& x, Curve curve) const {
  const CurveRule& rule = RuleOf(curve);
  Bounded out;
  out.value = Rows(x.value.rows, x.value.columns);
  if (bounds_) out.bound = Rows(x.value.rows, x.value.columns);
  for (size_t i = 0; i < out.value.values.size(); ++i) {
    const double y = rule.exact(x.value.values[i]);
    out.value.values[i] = y;
    if (bounds_)
      out.bound.values[i] = (x.bound.values.empty() ? 0.0 : rule.slope * x.bound.values[i]) +
                            rule.roundings * kUnit * std::fabs(y) + kTiny;
  }
  return out;
}

Bounded OracleMath::Convolve(const Rows& x, const std::vector<SequenceRows>& sequences,
                             const std::vector<float>& taps, const std::vector<float>& bias,
                             bool add_input) const {
  const int64_t columns = x.columns, width = static_cast<int64_t>(taps.size()) / columns;
  Bounded out;
  out.value = Rows(x.rows, columns);
  if (bounds_) out.bound = Rows(x.rows, columns);
  for (const SequenceRows& sequence : sequences) {
    for (int64_t t = 0; t < sequence.count; ++t) {
      for (int64_t c = 0; c < columns; ++c) {
        double y = bias.empty() ? 0.0 : static_cast<double>(bias[static_cast<size_t>(c)]);
        double sizes = std::fabs(y);
        for (int64_t k = std::max<int64_t>(0, width - 1 - t); k < width; ++k) {
          const double term = static_cast<double>(taps[static_cast<size_t>(c * width + k)]) *
                              x.row(sequence.first + t - (width - 1) + k)[c];
          y += term;
          sizes += std::fabs(term);
        }
        if (add_input) y += x.row(sequence.first + t)[c];
        out.value.row(sequence.first + t)[c] = y;
        if (bounds_)  // a rounding each term and one of the sum with the input
          out.bound.row(sequence.first + t)[c] =
              kUnit * ((static_cast<double>(width) + 1.0) * sizes + std::fabs(y)) + kTiny;
      }
    }
  }
  return out;
}

Bounded OracleMath::Scan(const ScanRows& in, const std::vector<SequenceRows>& sequences,
                         const std::vector<float>& a_log, const std::vector<float>& skip) const {
  const int64_t channels = in.x.columns, n = in.b.columns;
  Bounded out;
  out.value = Rows(in.x.rows, channels);
  if (bounds_) out.bound = Rows(in.x.rows, channels);
  const auto one = [&](const SequenceRows& sequence, int64_t channel) {
    std::vector<double> a(static_cast<size_t>(n)), s(static_cast<size_t>(n)), error(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i)
      a[static_cast<size_t>(i)] = -std::exp(static_cast<double>(a_log[static_cast<size_t>(channel * n + i)]));
    const double d = static_cast<double>(skip[static_cast<size_t>(channel)]);
    for (int64_t row = sequence.first; row < sequence.first + sequence.count; ++row) {
      const double x = in.x.row(row)[channel], delta = in.delta.row(row)[channel], z = in.z.row(row)[channel];
      double y = 0, sizes = 0, carried = 0;
      for (int64_t i = 0; i < n; ++i) {
        double &state = s[static_cast<size_t>(i)], &e = error[static_cast<size_t>(i)];
        const double exponent = delta * a[static_cast<size_t>(i)], decay = std::exp(exponent);
        const double input = delta * x * in.b.row(row)[i], c = in.c.row(row)[i];
        if (bounds_) {
          // The exponential's own rounding, and that of a, which the exponent multiplies; then two products
          // and a sum. What an earlier state was off decays as the state does.
          const double relative = (4.0 + 2.0 * std::fabs(exponent)) * kUnit;
          e = decay * (1.0 + relative) * e + relative * decay * std::fabs(state) +
              2.5 * kUnit * std::fabs(input) + kUnit * std::fabs(decay * state + input) + kTiny;
          carried += std::fabs(c) * e;
        }
        state = decay * state + input;
        y += state * c;
        sizes += std::fabs(state * c);
      }
      y += d * x;
      sizes += std::fabs(d * x);
      const double gate = Silu(z);
      out.value.row(row)[channel] = y * gate;
      if (bounds_)
        out.bound.row(row)[channel] =
            std::fabs(gate) * (carried + (static_cast<double>(n) + 2.0) * kUnit * sizes) +
            8.0 * kUnit * std::fabs(y * gate) + kTiny * (1.0 + std::fabs(y));
    }
  };
  for (const SequenceRows& sequence : sequences)
    Parallel(channels, [&](int64_t begin, int64_t end) {
      for (int64_t channel = begin; channel < end; ++channel) one(sequence, channel);
    });
  return out;
}

Bounded OracleMath::Mix(const Rows* g, const Rows& m, const Rows& a) const {
  Bounded out;
  out.value = Rows(m.rows, m.columns);
  if (bounds_) out.bound = Rows(m.rows, m.columns);
  for (int64_t r = 0; r < m.rows; ++r) {
    for (int64_t i = 0; i < m.columns; ++i) {
      const double gate = g ? g->row(r)[g->columns == 1 ? 0 : i] : 0.5;
      const double first = gate * m.row(r)[i], second = (1.0 - gate) * a.row(r)[i];
      out.value.row(r)[i] = first + second;
      if (bounds_)
        out.bound.row(r)[i] =
            kUnit * (std::fabs(first) + 2.5 * std::fabs(second) + std::fabs(first + second)) + kTiny;
    }
  }
  return out;
}

Bounded OracleMath::Half(const Rows* m, const Rows* a) const {
  Bounded out;
  out.value = m ? *m : *a;
  if (bounds_) out.bound = Rows(out.value.rows, out.value.columns);
  for (size_t i = 0; i < out.value.values.size(); ++i) {
    double& y = out.value.values[i];
    if (m && a) y += a->values[i];
    y *= 0.5;
    if (bounds_) out.bound.values[i] = (m && a ? kUnit * std::fabs(y) : 0.0) + kTiny;
  }
  return out;
}

}  // namespace fusiontree::verify
