// The selective scan's backward: a group of 64 channels at a time, its states of all rows computed again into
// scratch (64 rows of 16 states: 256 KB, in L2), then the rows from last to first, four strips of 16 channels
// a row, so that the sums over channels stay in L1.
#ifndef FUSIONTREE_KERNELS_SIMD_SCAN_BACKWARD_H_
#define FUSIONTREE_KERNELS_SIMD_SCAN_BACKWARD_H_

#include "kernels/simd_sequence.h"

namespace fusiontree::kernels {
namespace {

// Scratch of a group; a row of states, rates, ... is [n, 64].
struct ScanGroup {
  const ScanBackwardArgs& g;
  int64_t first;  // channel
  float *states, *outputs, *rates, *dstate, *da, *lanes;

  ScanGroup(const ScanBackwardArgs& args, int64_t channel) : g(args), first(channel) {
    const ScanArgs& f = g.forward;
    states = g.scratch;
    outputs = states + f.rows * f.n * kScanGroup;
    rates = outputs + f.rows * kScanGroup;
    dstate = rates + f.n * kScanGroup;
    da = dstate + f.n * kScanGroup;
    lanes = da + f.n * kScanGroup;  // [2, n, 16]: of db, then of dc
  }
  FT_INLINE const float* At(const float* p, int64_t stride, int64_t t, int64_t strip) const {
    return p + t * stride + first + strip;
  }

  template <bool kGuarded>
  FT_INLINE V Again(int64_t t, int64_t strip, V delta, V dx, const float* before, int64_t before_step) {
    const ScanArgs& f = g.forward;
    const float *b = f.b + t * f.bc_stride, *c = f.c + t * f.bc_stride;
    float* after = states + t * f.n * kScanGroup + strip;
    V y = Zero();
    for (int64_t i = 0; i < f.n; ++i) {
      V s = Load(before + i * before_step);
      ScanState<kGuarded>(delta, dx, rates + i * kScanGroup + strip, b + i, c + i, s, y);
      Store(after + i * kScanGroup, s);
    }
    return y;
  }
  // Copies the strip's rows of [n, ..] arrays, computes its states again; returns the quickest rate.
  FT_INLINE V Open(int64_t strip) {
    const ScanArgs& f = g.forward;
    V most = Zero();
    for (int64_t i = 0; i < f.n; ++i) {
      const V rate = Load(At(f.a, f.a_stride, i, strip));
      most = Min(most, rate);
      Store(rates + i * kScanGroup + strip, rate);
      Store(dstate + i * kScanGroup + strip, Load(At(g.dstate, g.dstate_stride, i, strip)));
      Store(da + i * kScanGroup + strip, Load(At(g.da, g.da_stride, i, strip)));
    }
    const float* before = At(f.state, f.state_stride, 0, strip);
    int64_t before_step = f.state_stride;
    for (int64_t t = 0; t < f.rows; ++t) {
      const V x = Load(At(f.x, f.x_stride, t, strip)), delta = Load(At(f.delta, f.delta_stride, t, strip));
      const V dx = Mul(delta, x);
      const V y = NeedsGuard(delta, most) ? Again<true>(t, strip, delta, dx, before, before_step)
                                          : Again<false>(t, strip, delta, dx, before, before_step);
      Store(outputs + t * kScanGroup + strip, Fma(Load(f.skip + first + strip), x, y));
      before = states + t * f.n * kScanGroup + strip;
      before_step = kScanGroup;
    }
    return most;
  }
  FT_INLINE void Close(int64_t strip) {
    for (int64_t i = 0; i < g.forward.n; ++i) {
      Store(g.dstate + i * g.dstate_stride + first + strip, Load(dstate + i * kScanGroup + strip));
      Store(g.da + i * g.da_stride + first + strip, Load(da + i * kScanGroup + strip));
    }
  }

  // The states of one strip and row: q = sum ds b, r = sum w a.
  template <bool kGuarded>
  FT_INLINE void States(int64_t t, int64_t strip, V delta, V dx, V dy, V& q, V& r) {
    const ScanArgs& f = g.forward;
    const float *b = f.b + t * f.bc_stride, *c = f.c + t * f.bc_stride;
    const float* state = states + t * f.n * kScanGroup + strip;
    for (int64_t i = 0; i < f.n; ++i) {
      const int64_t at = i * kScanGroup + strip;
      float *db = lanes + i * 16, *dc = lanes + (f.n + i) * 16;
      const V rate = Load(rates + at), s = Load(state + i * kScanGroup), b_i = SetFrom(b + i);
      const V ds = Fma(dy, SetFrom(c + i), Load(dstate + at));
      Store(dc, Fma(dy, s, Load(dc)));
      Store(db, Fma(ds, dx, Load(db)));
      q = Fma(ds, b_i, q);
      const V w = Mul(ds, Fnma(dx, b_i, s));
      Store(da + at, Fma(w, delta, Load(da + at)));
      r = Fma(w, rate, r);
      Store(dstate + at, Mul(Decay<kGuarded>(delta, rate), ds));
    }
  }
  FT_INLINE void Row(int64_t t, int64_t strip, V most) {
    const ScanArgs& f = g.forward;
    const int64_t c = first + strip;
    const V x = Load(f.x + t * f.x_stride + c), delta = Load(f.delta + t * f.delta_stride + c);
    const V dx = Mul(delta, x), dout = Load(g.dout + t * g.dout_stride + c);
    V dy = dout, q = Zero(), r = Zero();
    if (f.z) {
      const V z = Load(f.z + t * f.z_stride + c);
      dy = Mul(dout, Silu(z));
      Store(g.dz + t * g.dz_stride + c,
            Mul(Mul(dout, Load(outputs + t * kScanGroup + strip)), SiluGradient(z)));
    }
    Store(g.dskip + c, Fma(dy, x, Load(g.dskip + c)));
    if (NeedsGuard(delta, most)) {
      States<true>(t, strip, delta, dx, dy, q, r);
    } else {
      States<false>(t, strip, delta, dx, dy, q, r);
    }
    Store(g.dx + t * g.dx_stride + c, Fma(delta, q, Mul(dy, Load(f.skip + c))));
    Store(g.ddelta + t * g.ddelta_stride + c, Fma(x, q, Mul(r, Set(0.693147182f))));
  }
};

inline void ScanBackward(const ScanBackwardArgs* args) {
  const ScanBackwardArgs& g = *args;
  const ScanArgs& f = g.forward;
  for (int64_t first = f.channel_begin; first < f.channel_end; first += kScanGroup) {
    ScanGroup group(g, first);
    const int64_t width = f.channel_end - first < kScanGroup ? f.channel_end - first : kScanGroup;
    V most[kScanGroup / 16];
    for (int64_t strip = 0; strip < width; strip += 16) most[strip / 16] = group.Open(strip);
    for (int64_t t = f.rows; t-- > 0;) {
      for (int64_t i = 0; i < 2 * f.n; ++i) Store(group.lanes + 16 * i, Zero());
      for (int64_t strip = 0; strip < width; strip += 16) group.Row(t, strip, most[strip / 16]);
      const int64_t at = first / kScanGroup * g.group_stride + t * g.dbc_stride;
      for (int64_t i = 0; i < f.n; ++i) {
        g.db[at + i] = SumLanes(Load(group.lanes + 16 * i));
        g.dc[at + i] = SumLanes(Load(group.lanes + 16 * (f.n + i)));
      }
    }
    for (int64_t strip = 0; strip < width; strip += 16) group.Close(strip);
  }
}

}  // namespace
}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_SIMD_SCAN_BACKWARD_H_
