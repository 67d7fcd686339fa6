#include "ops/loss.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "base/math.h"

namespace fusiontree::ops {
namespace {

// p[i] = exp(x[i] / T - max), and the logarithm of what softmax divides by: log sum exp(x / T).
struct Softmax {
  float sum;
  double log_sum;
};
Softmax MakeSoftmax(const kernels::Table& table, const float* x, int64_t n, float* p) {
  const float max = x[table.argmax(x, n)];
  const float sum = table.exp_sum(x, n, max, p);
  return {sum, base::Log(static_cast<double>(sum)) + static_cast<double>(max)};
}

double Positive(double x) { return x > 0.0 ? x : 0.0; }
double Slope(double mean, const GateWeights& w) { return mean < w.low ? -1.0 : mean > w.high ? 1.0 : 0.0; }
double BinaryEntropy(double g) {
  return g <= 0.0 || g >= 1.0 ? 0.0 : -(g * base::Log(g) + (1.0 - g) * base::Log(1.0 - g));
}
// Of -H2. At 0 and 1, where it has none, the gate's own derivative is zero.
double EntropySlope(double g) { return g <= 0.0 || g >= 1.0 ? 0.0 : base::Log(g / (1.0 - g)); }

}  // namespace

int64_t Gates::Count() const {
  int64_t count = 0;
  for (int64_t r = 0; r < m; ++r) count += Counts(r);
  return count;
}

void CrossEntropy(Context& context, const Logits& logits, const int32_t* targets, float scale, double* loss,
                  float* dlogits, uint8_t* row_ok) {
  const kernels::Table& table = context.kernels();
  const int64_t n = logits.n, stride = logits.stride;
  context.For(logits.m, 1, 1, [&](int, base::Range share) {
    for (int64_t r = share.begin; r < share.end; ++r) {
      const float* x = logits.values + r * stride;
      float* d = dlogits + r * stride;
      const int32_t target = targets[r];
      FT_CHECK(target >= 0 && target < n);
      if (!table.all_finite(x, n)) {
        row_ok[r] = 0;
        loss[r] = 0.0;
        std::fill(d, d + stride, 0.0f);
        continue;
      }
      const double at_target = static_cast<double>(x[target]);
      const Softmax softmax = MakeSoftmax(table, x, n, d);
      loss[r] = softmax.log_sum - at_target;
      const float factor = scale / softmax.sum;
      for (int64_t i = 0; i < n; ++i) d[i] *= factor;
      d[target] -= scale;
      std::fill(d + n, d + stride, 0.0f);
    }
  });
}

void Distill(Context& context, const Logits& student, const Logits& teacher, float temperature, float scale,
             double* loss, float* dstudent, uint8_t* row_ok) {
  const kernels::Table& table = context.kernels();
  const int64_t n = student.n, stride = student.stride;
  FT_CHECK(teacher.m == student.m && teacher.n == n && temperature > 0.0f);
  const Context::Scope scope(context);
  float* space = context.scratch().TakeArray<float>(context.pool().size() * 4 * stride);
  context.For(student.m, 1, 1, [&](int thread, base::Range share) {
    float *s = space + thread * 4 * stride, *t = s + stride, *p = t + stride, *q = p + stride;
    for (int64_t r = share.begin; r < share.end; ++r) {
      const float *x = student.values + r * stride, *y = teacher.values + r * teacher.stride;
      loss[r] = 0.0;
      if (!table.all_finite(x, n) || !table.all_finite(y, n)) {
        row_ok[r] = 0;
        continue;
      }
      for (int64_t i = 0; i < n; ++i) {
        s[i] = x[i] / temperature;
        t[i] = y[i] / temperature;
      }
      const Softmax of_student = MakeSoftmax(table, s, n, p), of_teacher = MakeSoftmax(table, t, n, q);
      double sum = 0.0;
      for (int64_t i = 0; i < n; ++i)
        sum += static_cast<double>(q[i]) * (static_cast<double>(t[i]) - static_cast<double>(s[i]));
      const double square = static_cast<double>(temperature) * static_cast<double>(temperature);
      loss[r] =
          square * (sum / static_cast<double>(of_teacher.sum) - of_teacher.log_sum + of_student.log_sum);
      const float factor = scale * temperature;
      float* d = dstudent + r * stride;
      for (int64_t i = 0; i < n; ++i) d[i] += factor * (p[i] / of_student.sum - q[i] / of_teacher.sum);
    }
  });
}

GateTerms GateLosses(Context& context, const Gates& gates, const GateWeights& w, float* dgate) {
  const int64_t m = gates.m, n = gates.n;
  FT_CHECK(gates.Count() > 0 && n > 0);
  struct Row {
    double sum = 0.0, entropy = 0.0, polarise = 0.0;
  };
  std::vector<Row> rows(static_cast<size_t>(m));
  const bool with_entropy = w.entropy != 0.0 || w.measure_entropy;
  context.For(m, 1, 8, [&](int, base::Range share) {
    for (int64_t r = share.begin; r < share.end; ++r) {
      if (!gates.Counts(r)) continue;
      Row& row = rows[static_cast<size_t>(r)];
      for (int64_t i = 0; i < n; ++i) {
        const double g = static_cast<double>(gates.values[r * gates.stride + i]);
        row.sum += g;
        row.polarise += g * (1.0 - g);
        if (with_entropy) row.entropy -= BinaryEntropy(g);
      }
    }
  });
  GateTerms terms;
  const double tokens = static_cast<double>(gates.Count()), channels = static_cast<double>(n),
               all = tokens * channels;
  for (const Row& row : rows) {
    terms.mean += row.sum;
    terms.entropy += row.entropy;
    terms.polarise += row.polarise;
  }
  terms.mean /= all;
  terms.entropy /= all;
  terms.polarise /= all;
  std::vector<double> slopes(static_cast<size_t>(n), Slope(terms.mean, w));
  if (w.per_channel) {
    std::vector<double> means(static_cast<size_t>(n), 0.0);
    context.For(n, 16, 1, [&](int, base::Range share) {
      for (int64_t r = 0; r < m; ++r)
        for (int64_t i = share.begin; i < share.end && gates.Counts(r); ++i)
          means[static_cast<size_t>(i)] += static_cast<double>(gates.values[r * gates.stride + i]);
    });
    for (size_t i = 0; i < means.size(); ++i) {
      const double mean = means[i] / tokens;
      slopes[i] = Slope(mean, w);
      terms.balance += (Positive(w.low - mean) + Positive(mean - w.high)) / channels;
    }
  } else {
    terms.balance = Positive(w.low - terms.mean) + Positive(terms.mean - w.high);
  }
  if (dgate == nullptr) return terms;
  context.For(m, 1, 8, [&](int, base::Range share) {
    for (int64_t r = share.begin; r < share.end; ++r) {
      if (!gates.Counts(r)) continue;
      for (int64_t i = 0; i < n; ++i) {
        const double g = static_cast<double>(gates.values[r * gates.stride + i]);
        double d = w.balance * slopes[static_cast<size_t>(i)] + w.polarise * (1.0 - 2.0 * g);
        if (w.entropy != 0.0) d += w.entropy * EntropySlope(g);
        dgate[r * gates.stride + i] += static_cast<float>(d / all);
      }
    }
  });
  return terms;
}

}  // namespace fusiontree::ops
