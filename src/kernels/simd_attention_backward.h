// The backward of attention: tiles of 64 queries x 64 keys, five products each on the micro-kernel of the
// matrix products: scores and dP (64 x 64 x d), dQ, dV and dK (64 x d x 64). Cost: 10 * queries * keys * d
// operations and 64 * 64 exponentials a tile, less the squares of 16 x 16 that see nothing.
#ifndef FUSIONTREE_KERNELS_SIMD_ATTENTION_BACKWARD_H_
#define FUSIONTREE_KERNELS_SIMD_ATTENTION_BACKWARD_H_

#include "kernels/simd_attention.h"
#include "kernels/simd_rows.h"

namespace fusiontree::kernels {
namespace {

constexpr int64_t kStripe = kAttentionSquare;
constexpr int64_t kStripes = kKeyBlock / kStripe;
constexpr int64_t kScoreStride = kKeyBlock + 16;  // five cache lines: a column falls into different sets

// A row-major matrix as lines of 16 or 32 outputs: whatever the stride, no packing.
template <int64_t kStride>
struct LineOf {
  static constexpr int64_t kBytes = kStride * 4;
  template <int kHalf>
  static FT_INLINE V Get(const char* line) {
    return Load(reinterpret_cast<const float*>(line) + 16 * kHalf);
  }
};

// Rows of a tile: slot i is the position 64 t + i. 582 KB, of which a head of 64 channels touches 170.
struct AttentionBackwardScratch {
  float q[kKeyBlock * kQueryStride], dout[kKeyBlock * kQueryStride], dq[kKeyBlock * kQueryStride];
  float k[kKeyBlock * kQueryStride], dk[kKeyBlock * kQueryStride], dv[kKeyBlock * kQueryStride];
  float kt[kMaxHeadDim * kScoreStride], vt[kMaxHeadDim * kScoreStride];  // [d, keys]
  float p[kKeyBlock * kScoreStride], ds[kKeyBlock * kScoreStride];       // scores and dP first
};
static_assert(sizeof(AttentionBackwardScratch) <= kScratchBytes);

struct AttendBackward {
  static constexpr int64_t kWidth = 16 * kTileVectors;  // channels or keys of one pass
  const AttentionBackwardArgs& a;
  AttentionBackwardScratch& s;

  struct Range {
    int64_t begin, end;
  };

  // 16 rows of c (+)= a b over k; the rows in as few groups of nearly equal size as registers allow.
  template <int64_t kLineStride, int64_t kRowStride>
  static FT_INLINE void Stripe(const float* rows, const float* lines, int64_t k, Start start, float* c,
                               int64_t c_stride) {
    using Line = LineOf<kLineStride>;
    constexpr int kGroups = (kStripe + kTileRows - 1) / kTileRows, kFirst = (kStripe + kGroups - 1) / kGroups,
                  kOther = (kStripe - kFirst) / (kGroups - 1);
    static_assert(kFirst + (kGroups - 1) * kOther == kStripe);
    constexpr int64_t kNext = kRowStride > 0 ? kRowStride : 1;
    TileArgs t;
    t.lines = t.fetch = reinterpret_cast<const char*>(lines);
    t.fetch_step = 0;
    t.k = k;
    t.c_stride = c_stride;
    t.start = start;
    t.factor = t.next = nullptr;
    t.rows = rows;
    t.c = c;
    Tile<Line, kFirst, 0, kTileVectors, kRowStride>(t);
    for (int64_t row = kFirst; row < kStripe; row += kOther) {
      t.rows = rows + row * kNext;
      t.c = c + row * c_stride;
      Tile<Line, kOther, 0, kTileVectors, kRowStride>(t);
    }
  }

  // Rows of d floats, to whole passes of the products: zeros past d.
  FT_INLINE int64_t Width() const { return (a.d + kWidth - 1) / kWidth * kWidth; }
  template <bool kRound>
  FT_INLINE void Fetch(const float* from, int64_t stride, int64_t n, float* to) const {
    for (int64_t r = 0; r < n; ++r) {
      for (int64_t i = 0; i < Width(); i += 16) {
        const V x = LoadUpTo(from + r * stride + i, a.d - i);
        Store(to + r * kQueryStride + i, kRound ? RoundBf16(x) : x);
      }
    }
  }
  FT_INLINE void Give(const float* from, int64_t n, float* to, int64_t stride) const {
    for (int64_t r = 0; r < n; ++r)
      for (int64_t i = 0; i < a.d; i += 16)
        StoreUpTo(to + r * stride + i, a.d - i, Load(from + r * kQueryStride + i));
  }
  // [keys, stride] to [d, 64 keys]; keys that are not there are zero.
  FT_INLINE void Turn(const float* from, int64_t stride, float* to) const {
    const int64_t whole = a.d / 8 * 8;
    for (int64_t key = 0; key < kKeyBlock; key += 8) {
      for (int64_t i = 0; i < whole; i += 8) {
        __m256i r[8];
        FT_UNROLL
        for (int j = 0; j < 8; ++j) {
          const float* row = from + (key + j) * stride + i;
          r[j] = key + j < a.keys ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row))
                                  : _mm256_setzero_si256();
        }
        Transpose8(r);
        FT_UNROLL
        for (int j = 0; j < 8; ++j)
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + (i + j) * kScoreStride + key), r[j]);
      }
    }
    for (int64_t i = whole; i < a.d; ++i)
      for (int64_t key = 0; key < kKeyBlock; ++key)
        to[i * kScoreStride + key] = key < a.keys ? from[key * stride + i] : 0.0f;
  }

  // Is the square of query stripe i and key stripe j, of the tile whose slot 0 is `ahead` positions after key
  // 0, seen at all?
  FT_INLINE bool Seen(int64_t ahead, int64_t i, int64_t j) const {
    const int64_t apart = ahead + (i - j) * kStripe;
    return apart + kStripe - 1 >= 0 && (a.window == 0 || apart - (kStripe - 1) < a.window);
  }
  // Keys in seen squares of query stripe i, and queries in those of key stripe j: runs of whole stripes.
  FT_INLINE Range KeysOf(int64_t ahead, int64_t i) const {
    Range keys = {0, kStripes};
    while (keys.begin < kStripes && !Seen(ahead, i, keys.begin)) ++keys.begin;
    while (keys.end > keys.begin && !Seen(ahead, i, keys.end - 1)) --keys.end;
    return {keys.begin * kStripe, keys.end * kStripe};
  }
  FT_INLINE Range QueriesOf(int64_t ahead, int64_t j) const {
    Range queries = {0, kStripes};
    while (queries.begin < kStripes && !Seen(ahead, queries.begin, j)) ++queries.begin;
    while (queries.end > queries.begin && !Seen(ahead, queries.end - 1, j)) --queries.end;
    return {queries.begin * kStripe, queries.end * kStripe};
  }

  // P and dS of one query over the keys of its stripe, from its scores and dP.
  template <bool kRound>
  FT_INLINE void Row(int64_t slot, int64_t behind, Range keys, int64_t statistic) const {
    // Keys [begin, end) are seen.
    const int64_t end = behind + 1 < a.keys ? behind + 1 : a.keys,
                  begin = a.window != 0 ? behind - a.window + 1 : 0;
    const V scale = Set(a.scale), max = SetFrom(a.max + statistic),
            inverse = SetFrom(a.inverse_sum + statistic), dot = SetFrom(a.dot + statistic);
    float *p = s.p + slot * kScoreStride, *ds = s.ds + slot * kScoreStride;
    for (int64_t j = keys.begin; j < keys.end; j += 16) {
      V e = Mul(Exp(Sub(Mul(Load(p + j), scale), max)), inverse);
      V d = Mul(Mul(e, Sub(Load(ds + j), dot)), scale);
      if (begin > j || end < j + 16) {
        const Mask seen = Lanes(begin - j, end - j);
        e = Select(seen, e, Zero());
        d = Select(seen, d, Zero());
      }
      Store(p + j, kRound ? RoundBf16(e) : e);
      Store(ds + j, kRound ? RoundBf16(d) : d);
    }
  }

  // Slots [lo, hi) of the tile at position `base` are queries of this call. The others are computed along
  // where a stripe has both, in their own rows, which nobody reads.
  struct Slots {
    int64_t head, base, lo, hi;
  };
  FT_INLINE Slots SlotsAt(int64_t head, int64_t base, Range positions) const {
    return {head, base, positions.begin > base ? positions.begin - base : 0,
            positions.end - base < kKeyBlock ? positions.end - base : kKeyBlock};
  }
  // Rows are far apart, and no processor guesses where the next ones are: they are fetched a few at a time.
  FT_INLINE void FetchAhead(const Slots& next, int64_t slot) const {
    constexpr int64_t kRows = kWidth / kStripes;  // of 64, in as many turns as a tile's scores have
    for (int64_t r = slot; r < slot + kRows && r < next.hi; ++r) {
      if (r < next.lo) continue;
      const int64_t row = next.base + r - a.first_position, column = next.head * a.d;
      for (int64_t i = column; i < column + a.d; i += 16) {
        _mm_prefetch(reinterpret_cast<const char*>(a.q + row * a.q_stride + i), _MM_HINT_T0);
        _mm_prefetch(reinterpret_cast<const char*>(a.dout + row * a.dout_stride + i), _MM_HINT_T0);
        _mm_prefetch(reinterpret_cast<const char*>(a.dq + row * a.dq_stride + i), _MM_HINT_T0);
      }
    }
  }
  template <bool kRound>
  FT_INLINE void Queries(const Slots& now, const Slots& next) const {
    const int64_t lo = now.lo, hi = now.hi, ahead = now.base - a.first_key,
                  first = now.base + lo - a.first_position;
    const int64_t width = Width(), column = now.head * a.d, at = lo * kQueryStride;
    Fetch<kRound>(a.q + first * a.q_stride + column, a.q_stride, hi - lo, s.q + at);
    Fetch<kRound>(a.dout + first * a.dout_stride + column, a.dout_stride, hi - lo, s.dout + at);
    Fetch<false>(a.dq + first * a.dq_stride + column, a.dq_stride, hi - lo, s.dq + at);
    const int64_t stripe_begin = lo / kStripe, stripe_end = (hi + kStripe - 1) / kStripe;
    Range keys[kStripes];
    for (int64_t i = stripe_begin; i < stripe_end; ++i) keys[i] = KeysOf(ahead, i);
    for (int64_t j = 0; j < a.keys; j += kWidth) {
      for (int64_t i = stripe_begin; i < stripe_end; ++i) {
        FetchAhead(next, (j / kWidth * kStripes + i) * kWidth / kStripes);
        if (keys[i].begin >= j + kWidth || keys[i].end <= j) continue;
        const int64_t from = i * kStripe * kQueryStride, to = i * kStripe * kScoreStride + j;
        Stripe<kScoreStride, kQueryStride>(s.q + from, s.kt + j, a.d, kFromZero, s.p + to, kScoreStride);
        Stripe<kScoreStride, kQueryStride>(s.dout + from, s.vt + j, a.d, kFromZero, s.ds + to, kScoreStride);
      }
    }
    for (int64_t slot = lo; slot < hi; ++slot)
      Row<kRound>(slot, ahead + slot, keys[slot / kStripe],
                  (first + slot - lo) * a.statistics_stride + now.head);
    for (int64_t c = 0; c < width; c += kWidth) {
      for (int64_t i = stripe_begin; i < stripe_end; ++i) {
        const int64_t begin = keys[i].begin, end = keys[i].end < a.keys ? keys[i].end : a.keys;
        if (begin >= end) continue;
        Stripe<kQueryStride, kScoreStride>(s.ds + i * kStripe * kScoreStride + begin,
                                           s.k + begin * kQueryStride + c, end - begin, kFromOut,
                                           s.dq + i * kStripe * kQueryStride + c, kQueryStride);
      }
    }
    for (int64_t j = 0; j * kStripe < a.keys; ++j) {
      Range queries = QueriesOf(ahead, j);
      queries.begin = queries.begin < lo ? lo : queries.begin;
      queries.end = queries.end > hi ? hi : queries.end;
      if (queries.begin >= queries.end) continue;
      const int64_t from = queries.begin * kScoreStride + j * kStripe, n = queries.end - queries.begin;
      for (int64_t c = 0; c < width; c += kWidth) {
        const int64_t with = queries.begin * kQueryStride + c, to = j * kStripe * kQueryStride + c;
        Stripe<kQueryStride, -kScoreStride>(s.p + from, s.dout + with, n, kFromOut, s.dv + to, kQueryStride);
        Stripe<kQueryStride, -kScoreStride>(s.ds + from, s.q + with, n, kFromOut, s.dk + to, kQueryStride);
      }
    }
    Give(s.dq + at, hi - lo, a.dq + first * a.dq_stride + column, a.dq_stride);
  }

  template <bool kRound>
  void Run() const {
    // Positions of the call that may see a key of the block.
    Range seeing = {a.first_position > a.first_key ? a.first_position : a.first_key,
                    a.first_position + a.queries};
    if (a.window != 0 && seeing.end > a.first_key + kKeyBlock - 1 + a.window)
      seeing.end = a.first_key + kKeyBlock - 1 + a.window;
    if (seeing.begin >= seeing.end) return;
    Fetch<false>(a.k, a.kv_stride, a.keys, s.k);
    Fetch<false>(a.dk, a.dkv_stride, a.keys, s.dk);
    Fetch<false>(a.dv, a.dkv_stride, a.keys, s.dv);
    Turn(a.k, a.kv_stride, s.kt);
    Turn(a.v, a.kv_stride, s.vt);
    const int64_t first_base = seeing.begin / kKeyBlock * kKeyBlock;
    for (Slots now = SlotsAt(0, first_base, seeing), next; now.head < a.heads; now = next) {
      const bool last = now.base + kKeyBlock >= seeing.end;
      next =
          last ? SlotsAt(now.head + 1, first_base, seeing) : SlotsAt(now.head, now.base + kKeyBlock, seeing);
      Queries<kRound>(now, next.head < a.heads ? next : now);
    }
    Give(s.dk, a.keys, a.dk, a.dkv_stride);
    Give(s.dv, a.keys, a.dv, a.dkv_stride);
  }
};

inline void AttentionBackward(const AttentionBackwardArgs* args) {
  const AttendBackward work = {*args, *static_cast<AttentionBackwardScratch*>(args->scratch)};
  if (args->round) {
    work.Run<true>();
  } else {
    work.Run<false>();
  }
}

inline void AttentionDots(const float* out, const float* dout, int64_t heads, int64_t d, bool round,
                          float* dots) {
  for (int64_t h = 0; h < heads; ++h) {
    V lanes = Zero();
    for (int64_t i = h * d; i < (h + 1) * d; i += 16) {
      const int64_t n = (h + 1) * d - i;
      V x = LoadUpTo(dout + i, n);
      if (round) x = RoundBf16(x);
      lanes = Select(Lanes(0, n), Fma(x, LoadUpTo(out + i, n), lanes), lanes);
    }
    dots[h] = SumLanes(lanes);
  }
}

}  // namespace
}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_SIMD_ATTENTION_BACKWARD_H_
