// The backward in plain loops.
#include "kernels/ref.h"
#include "kernels/ref_math.h"

namespace fusiontree::kernels::ref {
namespace {

constexpr float kLn2 = 0.693147182f;

template <float (*kOf)(float)>
void Apply(const float* x, const float* dy, int64_t n, float* dx) {
  for (int64_t i = 0; i < n; ++i) dx[i] = dy[i] * kOf(x[i]);
}
void Silu(const float* x, const float* dy, int64_t n, float* dx) { Apply<SiluGradient>(x, dy, n, dx); }
void Gelu(const float* x, const float* dy, int64_t n, float* dx) { Apply<GeluGradient>(x, dy, n, dx); }
void Tanh(const float* x, const float* dy, int64_t n, float* dx) { Apply<TanhGradient>(x, dy, n, dx); }
void Sigmoid(const float* x, const float* dy, int64_t n, float* dx) { Apply<SigmoidGradient>(x, dy, n, dx); }
void Softplus(const float* x, const float* dy, int64_t n, float* dx) {
  Apply<SoftplusGradient>(x, dy, n, dx);
}

void ConvBackward(const ConvBackwardArgs* args) {
  const ConvBackwardArgs& g = *args;
  const ConvArgs& f = g.forward;
  for (int64_t c = f.channel_begin; c < f.channel_end; ++c) {
    for (int64_t t = 0; t < f.rows; ++t) {
      const auto input = [&](int64_t k) {
        const int64_t row = t + k - (f.width - 1);
        return row < 0 ? f.history[(t + k) * f.history_stride + c] : f.x[row * f.x_stride + c];
      };
      float dy = g.dout[t * g.dout_stride + c];
      g.dx[t * g.dx_stride + c] = f.end == kConvAddInput ? dy : 0.0f;
      if (f.end == kConvSilu) {
        float y = f.bias ? f.bias[c] : 0.0f;
        for (int64_t k = 0; k < f.width; ++k) y = Fma(f.weight[k * f.weight_stride + c], input(k), y);
        dy = dy * SiluGradient(y);
      }
      if (g.dbias) g.dbias[c] = g.dbias[c] + dy;
      for (int64_t k = 0; k < f.width; ++k) {
        float& dweight = g.dweight[k * g.dweight_stride + c];
        dweight = Fma(dy, input(k), dweight);
        const int64_t row = t + k - (f.width - 1);
        if (row < 0) continue;
        float& dx = g.dx[row * g.dx_stride + c];
        dx = Fma(f.weight[k * f.weight_stride + c], dy, dx);
      }
    }
  }
}

// States [rows, n, group] and outputs before the gate [rows, group] of one channel of the group, as Scan
// makes them.
void ScanAgain(const ScanArgs& f, int64_t c, float* states, float* y) {
  for (int64_t t = 0; t < f.rows; ++t) {
    const float x = f.x[t * f.x_stride + c], delta = f.delta[t * f.delta_stride + c], dx = delta * x;
    float sum = 0.0f;
    for (int64_t i = 0; i < f.n; ++i) {
      const float before =
          t == 0 ? f.state[i * f.state_stride + c] : states[((t - 1) * f.n + i) * kScanGroup];
      const float s = Fma(Decay(delta, f.a[i * f.a_stride + c]), before, dx * f.b[t * f.bc_stride + i]);
      states[(t * f.n + i) * kScanGroup] = s;
      sum = Fma(s, f.c[t * f.bc_stride + i], sum);
    }
    y[t * kScanGroup] = Fma(f.skip[c], x, sum);
  }
}

void ScanBackward(const ScanBackwardArgs* args) {
  const ScanBackwardArgs& g = *args;
  const ScanArgs& f = g.forward;
  float *states = g.scratch, *outputs = states + f.rows * f.n * kScanGroup,
        *lanes = outputs + f.rows * kScanGroup;
  for (int64_t first = f.channel_begin; first < f.channel_end; first += kScanGroup) {
    const int64_t end = first + kScanGroup < f.channel_end ? first + kScanGroup : f.channel_end;
    for (int64_t c = first; c < end; ++c) ScanAgain(f, c, states + (c - first), outputs + (c - first));
    for (int64_t t = f.rows; t-- > 0;) {
      const float *b = f.b + t * f.bc_stride, *cc = f.c + t * f.bc_stride;
      for (int64_t i = 0; i < 32 * f.n; ++i) lanes[i] = 0.0f;  // of db, then of dc
      for (int64_t c = first; c < end; ++c) {
        const float x = f.x[t * f.x_stride + c], delta = f.delta[t * f.delta_stride + c], dx = delta * x;
        const float dout = g.dout[t * g.dout_stride + c];
        float dy = dout, q = 0.0f, r = 0.0f;
        if (f.z) {
          const float z = f.z[t * f.z_stride + c];
          dy = dout * kernels::Silu(z);
          g.dz[t * g.dz_stride + c] = (dout * outputs[t * kScanGroup + (c - first)]) * SiluGradient(z);
        }
        g.dskip[c] = Fma(dy, x, g.dskip[c]);
        for (int64_t i = 0; i < f.n; ++i) {
          const float s = states[(t * f.n + i) * kScanGroup + (c - first)], a = f.a[i * f.a_stride + c];
          float &dstate = g.dstate[i * g.dstate_stride + c], &da = g.da[i * g.da_stride + c];
          float &db = lanes[i * 16 + c % 16], &dc = lanes[(f.n + i) * 16 + c % 16];
          const float ds = Fma(dy, cc[i], dstate);
          dc = Fma(dy, s, dc);
          db = Fma(ds, dx, db);
          q = Fma(ds, b[i], q);
          const float w = ds * Fma(-dx, b[i], s);
          da = Fma(w, delta, da);
          r = Fma(w, a, r);
          dstate = Decay(delta, a) * ds;
        }
        g.dx[t * g.dx_stride + c] = Fma(delta, q, dy * f.skip[c]);
        g.ddelta[t * g.ddelta_stride + c] = Fma(x, q, r * kLn2);
      }
      const int64_t group = first / kScanGroup * g.group_stride + t * g.dbc_stride;
      for (int64_t i = 0; i < f.n; ++i) {
        g.db[group + i] = LaneTree(lanes + i * 16);
        g.dc[group + i] = LaneTree(lanes + (f.n + i) * 16);
      }
    }
  }
}

void RmsNormBackward(const NormBackwardArgs* args) {
  const NormBackwardArgs& g = *args;
  const float count = static_cast<float>(g.n);
  float squares[16] = {}, lanes[16] = {};
  for (int64_t i = 0; i < g.n; ++i) squares[i % 16] = Fma(g.x[i], g.x[i], squares[i % 16]);
  const float scale = 1.0f / __builtin_sqrtf(LaneTree(squares) / count + g.eps);
  for (int64_t i = 0; i < g.n; ++i) lanes[i % 16] = Fma(g.dy[i] * g.weight[i], g.x[i] * scale, lanes[i % 16]);
  const float m2 = LaneTree(lanes) / count;
  for (int64_t i = 0; i < g.n; ++i) g.dx[i] = scale * Fma(-(g.x[i] * scale), m2, g.dy[i] * g.weight[i]);
  g.stats[0] = 0.0f;
  g.stats[1] = scale;
}

void LayerNormBackward(const NormBackwardArgs* args) {
  const NormBackwardArgs& g = *args;
  const float count = static_cast<float>(g.n);
  float sums[16] = {}, squares[16] = {}, first[16] = {}, second[16] = {};
  for (int64_t i = 0; i < g.n; ++i) sums[i % 16] = sums[i % 16] + g.x[i];
  const float mean = LaneTree(sums) / count;
  for (int64_t i = 0; i < g.n; ++i) squares[i % 16] = Fma(g.x[i] - mean, g.x[i] - mean, squares[i % 16]);
  const float scale = 1.0f / __builtin_sqrtf(LaneTree(squares) / count + g.eps);
  for (int64_t i = 0; i < g.n; ++i) {
    const float product = g.dy[i] * g.weight[i];
    first[i % 16] = first[i % 16] + product;
    second[i % 16] = Fma(product, (g.x[i] - mean) * scale, second[i % 16]);
  }
  const float m1 = LaneTree(first) / count, m2 = LaneTree(second) / count;
  for (int64_t i = 0; i < g.n; ++i)
    g.dx[i] = scale * Fma(-((g.x[i] - mean) * scale), m2, g.dy[i] * g.weight[i] - m1);
  g.stats[0] = mean;
  g.stats[1] = scale;
}

void NormWeight(const float* x, const float* dy, const float* stats, int64_t n, float* dweight,
                float* dbias) {
  for (int64_t i = 0; i < n; ++i) {
    dweight[i] = Fma(dy[i], (x[i] - stats[0]) * stats[1], dweight[i]);
    if (dbias) dbias[i] = dbias[i] + dy[i];
  }
}

void MixBackward(const MixBackwardArgs* args) {
  const MixBackwardArgs& g = *args;
  float lanes[16] = {};
  for (int64_t i = 0; i < g.n; ++i) {
    const float gate = g.gate[i * g.gate_step], apart = g.m[i] - g.a[i];
    g.dm[i] = g.dout[i] * gate;
    g.da[i] = g.dout[i] * (1.0f - gate);
    if (g.gate_step) {
      g.dg[i] = g.dout[i] * apart;
    } else {
      lanes[i % 16] = Fma(g.dout[i], apart, lanes[i % 16]);
    }
  }
  if (!g.gate_step) g.dg[0] = LaneTree(lanes);
}

void RopeBackward(float* dx, const float* cos, const float* sin, int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = dx[i], b = dx[i + half];
    dx[i] = Fma(b, sin[i], a * cos[i]);
    dx[i + half] = Fma(-a, sin[i], b * cos[i]);
  }
}

// Does a position of the 16 from `position` on see one of the 16 keys from `key` on?
bool SquareSeen(int64_t position, int64_t key, int64_t window) {
  const int64_t least = position - (key + kAttentionSquare - 1), most = position + kAttentionSquare - 1 - key;
  return most >= 0 && (window == 0 || least < window);
}

void AttentionQuery(const AttentionBackwardArgs& a, int64_t i, int64_t h) {
  const int64_t position = a.first_position + i, statistic = i * a.statistics_stride + h;
  const auto in = [&](float x) { return a.round ? RoundBf16(x) : x; };
  float q[kMaxHeadDim], dout[kMaxHeadDim], p[kKeyBlock], ds[kKeyBlock];
  bool part[kKeyBlock];  // of the sums over keys and queries
  for (int64_t c = 0; c < a.d; ++c) {
    q[c] = in(a.q[i * a.q_stride + h * a.d + c]);
    dout[c] = in(a.dout[i * a.dout_stride + h * a.d + c]);
  }
  for (int64_t j = 0; j < a.keys; ++j) {
    const int64_t key = a.first_key + j, behind = position - key;
    part[j] = SquareSeen(position / kAttentionSquare * kAttentionSquare,
                         key / kAttentionSquare * kAttentionSquare, a.window);
    p[j] = ds[j] = 0.0f;
    if (behind < 0 || (a.window != 0 && behind >= a.window)) continue;
    float score = 0.0f, dp = 0.0f;
    for (int64_t c = 0; c < a.d; ++c) {
      score = Fma(q[c], a.k[j * a.kv_stride + c], score);
      dp = Fma(dout[c], a.v[j * a.kv_stride + c], dp);
    }
    const float e = Exp(score * a.scale - a.max[statistic]) * a.inverse_sum[statistic];
    p[j] = in(e);
    ds[j] = in((e * (dp - a.dot[statistic])) * a.scale);
  }
  for (int64_t j = 0; j < a.keys; ++j) {
    if (!part[j]) continue;
    for (int64_t c = 0; c < a.d; ++c) {
      float& dq = a.dq[i * a.dq_stride + h * a.d + c];
      float &dk = a.dk[j * a.dkv_stride + c], &dv = a.dv[j * a.dkv_stride + c];
      dq = Fma(ds[j], a.k[j * a.kv_stride + c], dq);
      dk = Fma(ds[j], q[c], dk);
      dv = Fma(p[j], dout[c], dv);
    }
  }
}
void AttentionBackward(const AttentionBackwardArgs* args) {
  for (int64_t h = 0; h < args->heads; ++h)
    for (int64_t i = 0; i < args->queries; ++i) AttentionQuery(*args, i, h);
}

void AttentionDots(const float* out, const float* dout, int64_t heads, int64_t d, bool round, float* dots) {
  for (int64_t h = 0; h < heads; ++h) {
    float lanes[16] = {};
    for (int64_t i = 0; i < d; ++i) {
      const float x = round ? RoundBf16(dout[h * d + i]) : dout[h * d + i];
      lanes[i % 16] = Fma(x, out[h * d + i], lanes[i % 16]);
    }
    dots[h] = LaneTree(lanes);
  }
}

}  // namespace

constinit const BackwardOps kBackward = {{Silu, Gelu, Tanh, Sigmoid, Softplus},
                                         ConvBackward,
                                         ScanBackward,
                                         RmsNormBackward,
                                         LayerNormBackward,
                                         NormWeight,
                                         MixBackward,
                                         RopeBackward,
                                         AttentionBackward,
                                         AttentionDots};

}  // namespace fusiontree::kernels::ref
