// Functions, norms and channel-wise sequence operations in plain loops.
#include "kernels/ref.h"
#include "kernels/ref_math.h"

namespace fusiontree::kernels::ref {
namespace {

template <float (*kOf)(float)>
void Apply(const float* x, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = kOf(x[i]);
}

}  // namespace

void ApplySilu(const float* x, int64_t n, float* out) { Apply<Silu>(x, n, out); }
void ApplyGelu(const float* x, int64_t n, float* out) { Apply<Gelu>(x, n, out); }
void ApplyTanh(const float* x, int64_t n, float* out) { Apply<Tanh>(x, n, out); }
void ApplySigmoid(const float* x, int64_t n, float* out) { Apply<Sigmoid>(x, n, out); }
void ApplySoftplus(const float* x, int64_t n, float* out) { Apply<Softplus>(x, n, out); }

void Conv(const ConvArgs* args) {
  const ConvArgs& g = *args;
  for (int64_t t = 0; t < g.rows; ++t) {
    for (int64_t c = g.channel_begin; c < g.channel_end; ++c) {
      float y = g.bias ? g.bias[c] : 0.0f;
      for (int64_t k = 0; k < g.width; ++k) {
        const int64_t row = t + k - (g.width - 1);
        const float x = row < 0 ? g.history[(t + k) * g.history_stride + c] : g.x[row * g.x_stride + c];
        y = Fma(g.weight[k * g.weight_stride + c], x, y);
      }
      g.out[t * g.out_stride + c] = g.end == kConvSilu ? Silu(y) : g.x[t * g.x_stride + c] + y;
    }
  }
}

void Scan(const ScanArgs* args) {
  const ScanArgs& g = *args;
  for (int64_t t = 0; t < g.rows; ++t) {
    const float *b = g.b + t * g.bc_stride, *cc = g.c + t * g.bc_stride;
    for (int64_t c = g.channel_begin; c < g.channel_end; ++c) {
      const float x = g.x[t * g.x_stride + c], delta = g.delta[t * g.delta_stride + c], dx = delta * x;
      float y = 0.0f;
      for (int64_t i = 0; i < g.n; ++i) {
        float& s = g.state[i * g.state_stride + c];
        s = Fma(Decay(delta, g.a[i * g.a_stride + c]), s, dx * b[i]);
        y = Fma(s, cc[i], y);
      }
      y = Fma(g.skip[c], x, y);
      g.out[t * g.out_stride + c] = g.z ? y * Silu(g.z[t * g.z_stride + c]) : y;
    }
  }
}

bool LayerNorm(const float* x, const float* weight, const float* bias, int64_t n, float eps, float* out) {
  float lanes[16] = {}, squares[16] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i % 16] = lanes[i % 16] + x[i];
  const float mean = LaneTree(lanes) / static_cast<float>(n);
  for (int64_t i = 0; i < n; ++i) squares[i % 16] = Fma(x[i] - mean, x[i] - mean, squares[i % 16]);
  const float sum = LaneTree(squares);
  const float scale = 1.0f / __builtin_sqrtf(sum / static_cast<float>(n) + eps);
  for (int64_t i = 0; i < n; ++i) {
    const float y = (x[i] - mean) * scale;
    out[i] = bias ? Fma(y, weight[i], bias[i]) : y * weight[i];
  }
  return Finite(sum);
}

void Mix(const float* gate, int64_t gate_step, const float* m, const float* a, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    const float g = gate[i * gate_step];
    out[i] = Fma(g, m[i], (1.0f - g) * a[i]);
  }
}

}  // namespace fusiontree::kernels::ref
