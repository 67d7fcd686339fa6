#include "kernels/ref.h"

#include <math.h>
#include <string.h>

#include "kernels/ref_math.h"

namespace fusiontree::kernels {
namespace {

inline int64_t Up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// Exact: the half's magnitude as an integer scaled by a power of two.
inline float FromF16(uint16_t value) {
  const uint32_t sign = static_cast<uint32_t>(value & 0x8000u) << 16;
  const uint32_t exponent = (value >> 10) & 0x1fu, mantissa = value & 0x3ffu;
  if (exponent == 0x1f) return FromBits(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {
    const float magnitude = static_cast<float>(static_cast<int32_t>(mantissa)) * 0x1p-24f;
    return FromBits(sign | ToBits(magnitude));
  }
  return FromBits(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

struct FmaRule {
  static constexpr int64_t kBlock = 1;
  static float Dot(float acc, const float* a, const float* b, int64_t b_stride, int64_t k) {
    for (int64_t i = 0; i < k; ++i) acc = Fma(a[i], b[i * b_stride], acc);
    return acc;
  }
};
struct Dpbf16Rule {
  static constexpr int64_t kBlock = 2;
  static float Dot(float acc, const float* a, const float* b, int64_t b_stride, int64_t k) {
    for (int64_t i = 0; i < k; i += 2) {
      acc = Fma(a[i + 1], b[(i + 1) * b_stride], acc);
      acc = Fma(a[i], b[i * b_stride], acc);
    }
    return acc;
  }
};
struct AmxRule {
  static constexpr int64_t kBlock = 32;
  static float Dot(float acc, const float* a, const float* b, int64_t b_stride, int64_t k) {
    for (int64_t block = 0; block < k; block += 32) {
      float even = 0.0f, odd = 0.0f;
      for (int64_t i = block; i < block + 32; i += 2) {
        even = Fma(a[i], b[i * b_stride], even);
        odd = Fma(a[i + 1], b[(i + 1) * b_stride], odd);
      }
      acc = acc + (even + odd);
    }
    return acc;
  }
};

// Weight storage of the reference: panel as [slices * padded slice k][32] of the weight type.
struct Bf16Store {
  using Type = uint16_t;
  static float Widen(Type v) { return FromBf16(v); }
};
struct F16Store {
  using Type = uint16_t;
  static float Widen(Type v) { return FromF16(v); }
};
struct F32Store {
  using Type = float;
  static float Widen(Type v) { return v; }
};

float SliceTree(const float* partial, int64_t begin, int64_t count) {
  if (count <= 1) return partial[begin];
  if (count % 2 == 0) {
    return SliceTree(partial, begin, count / 2) + SliceTree(partial, begin + count / 2, count / 2);
  }
  float sum = partial[begin];
  for (int64_t i = 1; i < count; ++i) sum = sum + partial[begin + i];
  return sum;
}

template <typename Store, typename Rule, bool kRound>
struct Matrix {
  using Type = typename Store::Type;
  static int64_t PaddedK(int64_t k, int64_t slices) { return slices * Up(k / slices, Rule::kBlock); }
  static size_t PanelBytes(int64_t k, int64_t slices) {
    return static_cast<size_t>(PaddedK(k, slices) * kPanel) * sizeof(Type);
  }
  static size_t RowsBytes(int64_t m, int64_t k, int64_t slices) {
    return static_cast<size_t>(m * PaddedK(k, slices)) * sizeof(float);
  }
  static bool PackWeight(const void* source, size_t row_stride, int64_t rows, int64_t k, int64_t slices,
                         void* panel) {
    Type* out = static_cast<Type*>(panel);
    memset(out, 0, PanelBytes(k, slices));
    const int64_t slice_k = k / slices, padded = Up(slice_k, Rule::kBlock);
    bool finite = true;
    for (int64_t r = 0; r < rows; ++r) {
      const char* row = static_cast<const char*>(source) + static_cast<size_t>(r) * row_stride;
      for (int64_t i = 0; i < k; ++i) {
        Type value;
        memcpy(&value, row + static_cast<size_t>(i) * sizeof(Type), sizeof(Type));
        finite = finite && Finite(Store::Widen(value));
        out[(i / slice_k * padded + i % slice_k) * kPanel + r] = value;
      }
    }
    return finite;
  }
  static void UnpackRow(const void* panel, int64_t row, int64_t k, int64_t slices, float* out) {
    const Type* in = static_cast<const Type*>(panel);
    const int64_t slice_k = k / slices, padded = Up(slice_k, Rule::kBlock);
    for (int64_t i = 0; i < k; ++i)
      out[i] = Store::Widen(in[(i / slice_k * padded + i % slice_k) * kPanel + row]);
  }
  static void PackRows(const float* x, int64_t stride, int64_t m, int64_t k, int64_t slices,
                       int64_t group_begin, int64_t group_end, void* out) {
    const int64_t slice_k = k / slices, padded = Up(slice_k, Rule::kBlock), width = slices * padded;
    for (int64_t r = group_begin; r < group_end && r < m; ++r) {
      float* row = static_cast<float*>(out) + r * width;
      memset(row, 0, static_cast<size_t>(width) * sizeof(float));
      for (int64_t i = 0; i < k; ++i) {
        const float value = x[r * stride + i];
        row[i / slice_k * padded + i % slice_k] = kRound ? RoundBf16(value) : value;
      }
    }
  }
  // One output before the epilogue: slices from zero, their tree, the bias.
  static float Output(const MatmulArgs& a, const float* row, const Type* panel, int64_t column, int64_t lane,
                      float* widened) {
    const int64_t padded = Up(a.k / a.slices, Rule::kBlock);
    float partial[kMaxSlices];
    for (int64_t s = 0; s < a.slices; ++s) {
      for (int64_t i = 0; i < padded; ++i) widened[i] = Store::Widen(panel[(s * padded + i) * kPanel + lane]);
      partial[s] = Rule::Dot(0.0f, row + s * padded, widened, 1, padded);
    }
    const float sum = SliceTree(partial, 0, a.slices);
    return a.bias ? sum + a.bias[column] : sum;
  }
  static void Matmul(const MatmulArgs* args) {
    const MatmulArgs& a = *args;
    const int64_t width = PaddedK(a.k, a.slices);
    const size_t panel_bytes = PanelBytes(a.k, a.slices);
    float* widened = static_cast<float*>(a.scratch);
    const int64_t step = a.epilogue == kSiluMul ? 2 : 1;
    for (int64_t p = a.panel_begin; p < a.panel_end; p += step) {
      const Type* panel = reinterpret_cast<const Type*>(static_cast<const char*>(a.weight) +
                                                        static_cast<size_t>(p) * panel_bytes);
      const Type* up = reinterpret_cast<const Type*>(reinterpret_cast<const char*>(panel) + panel_bytes);
      for (int64_t r = a.group_begin; r < a.group_end && r < a.m; ++r) {
        const float* row = static_cast<const float*>(a.rows) + r * width;
        float* out = a.out + r * a.out_stride + p / step * kPanel;
        for (int64_t lane = 0; lane < kPanel; ++lane) {
          const float y = Output(a, row, panel, p * kPanel + lane, lane, widened);
          if (a.epilogue == kStore) {
            out[lane] = y;
          } else if (a.epilogue == kAdd) {
            out[lane] = out[lane] + y;
          } else {
            out[lane] = Silu(y) * Output(a, row, up, (p + 1) * kPanel + lane, lane, widened);
          }
        }
      }
    }
  }
  static constexpr MatrixOps Ops() {
    return {1, Rule::kBlock, PanelBytes, RowsBytes, PackWeight, UnpackRow, PackRows, Matmul};
  }
};

// KV block of the reference: K as [64][d padded to the K-block], then V as [64][d], of the cache type.
template <typename Store, typename Rule, bool kRound>
struct Attention {
  using Type = typename Store::Type;
  static int64_t Padded(int64_t d) { return Up(d, Rule::kBlock); }
  static size_t BlockBytes(int64_t d) {
    return static_cast<size_t>(Up(kKeyBlock * (Padded(d) + d) * static_cast<int64_t>(sizeof(Type)), 64));
  }
  static Type Narrow(float value) {
    if constexpr (kRound) {
      return ToBf16(value);
    } else {
      return value;
    }
  }
  static void Write(void* block, int64_t slot, int64_t d, const float* k, const float* v) {
    Type* keys = static_cast<Type*>(block) + slot * Padded(d);
    Type* values = static_cast<Type*>(block) + kKeyBlock * Padded(d) + slot * d;
    for (int64_t i = 0; i < d; ++i) {
      keys[i] = Narrow(k[i]);
      values[i] = Narrow(v[i]);
    }
  }
  static void ClearFrom(void* block, int64_t slot, int64_t d) {
    for (int64_t s = slot; s < kKeyBlock; ++s) {
      memset(static_cast<Type*>(block) + s * Padded(d), 0, static_cast<size_t>(d) * sizeof(Type));
      memset(static_cast<Type*>(block) + kKeyBlock * Padded(d) + s * d, 0,
             static_cast<size_t>(d) * sizeof(Type));
    }
  }
  static void Read(const void* block, int64_t slot, int64_t d, float* k, float* v) {
    const Type* keys = static_cast<const Type*>(block) + slot * Padded(d);
    const Type* values = static_cast<const Type*>(block) + kKeyBlock * Padded(d) + slot * d;
    for (int64_t i = 0; i < d; ++i) {
      k[i] = Store::Widen(keys[i]);
      v[i] = Store::Widen(values[i]);
    }
  }
  static void Split(const AttentionArgs* args) {
    const AttentionArgs& a = *args;
    for (int64_t row = 0; row < a.queries * a.heads; ++row) Row(a, row);
  }
  static void Row(const AttentionArgs& a, int64_t row) {
    const int64_t d = a.d, padded = Padded(d), position = a.first_position + row / a.heads;
    float* acc = a.acc + row * a.acc_stride;
    float q[kMaxHeadDim] = {}, key[kMaxHeadDim] = {}, score[kKeyBlock], value[kKeyBlock];
    float max = -INFINITY, sum = 0.0f;
    memset(acc, 0, static_cast<size_t>(a.acc_stride) * sizeof(float));
    for (int64_t i = 0; i < d; ++i) {
      const float x = a.q[row / a.heads * a.q_stride + row % a.heads * d + i];
      q[i] = kRound ? RoundBf16(x) : x;
    }
    for (int64_t first = a.key_begin; first < a.key_end; first += kKeyBlock) {
      const Type* keys = static_cast<const Type*>(a.blocks[(first - a.key_begin) / kKeyBlock]);
      bool visible[kKeyBlock], any = false;
      float block_max = -INFINITY;
      for (int64_t j = 0; j < kKeyBlock; ++j) {
        const int64_t behind = position - (first + j);
        visible[j] = behind >= 0 && (a.window == 0 || behind < a.window);
        if (!visible[j]) continue;
        any = true;
        for (int64_t i = 0; i < d; ++i) key[i] = Store::Widen(keys[j * padded + i]);
        score[j] = Rule::Dot(0.0f, q, key, 1, padded) * a.scale;
        if (score[j] > block_max) block_max = score[j];
      }
      if (!any) continue;  // the block may be null
      const Type* values = keys + kKeyBlock * padded;
      const float new_max = block_max > max ? block_max : max;
      const float factor = max == -INFINITY ? 0.0f : Exp(max - new_max);
      float lanes[16] = {}, p[kKeyBlock];
      for (int64_t j = 0; j < kKeyBlock; ++j) {
        const float e = visible[j] ? Exp(score[j] - new_max) : 0.0f;
        lanes[j % 16] = lanes[j % 16] + e;
        p[j] = kRound ? RoundBf16(e) : e;
      }
      sum = Fma(sum, factor, LaneTree(lanes));
      max = new_max;
      for (int64_t i = 0; i < d; ++i) {
        for (int64_t j = 0; j < kKeyBlock; ++j) value[j] = Store::Widen(values[j * d + i]);
        acc[i] = Rule::Dot(acc[i] * factor, p, value, 1, kKeyBlock);
      }
    }
    a.max[row] = max;
    a.sum[row] = sum;
  }
  static constexpr AttentionOps Ops() { return {BlockBytes, Write, ClearFrom, Read, Split}; }
};

void AttentionMerge(int64_t rows, int64_t d, int64_t acc_stride, float* max, float* sum, float* acc,
                    const float* max2, const float* sum2, const float* acc2) {
  for (int64_t r = 0; r < rows; ++r) {
    if (sum2[r] == 0.0f) continue;
    float* to = acc + r * acc_stride;
    const float* from = acc2 + r * acc_stride;
    if (sum[r] == 0.0f) {
      max[r] = max2[r];
      sum[r] = sum2[r];
      for (int64_t i = 0; i < d; ++i) to[i] = from[i];
      continue;
    }
    const float top = max2[r] > max[r] ? max2[r] : max[r];
    const float f1 = Exp(max[r] - top), f2 = Exp(max2[r] - top);
    max[r] = top;
    sum[r] = Fma(sum2[r], f2, sum[r] * f1);
    for (int64_t i = 0; i < d; ++i) to[i] = Fma(from[i], f2, to[i] * f1);
  }
}

void AttentionFinish(int64_t queries, int64_t heads, int64_t d, int64_t acc_stride, const float* sum,
                     const float* acc, float* out, int64_t out_stride) {
  for (int64_t r = 0; r < queries * heads; ++r)
    for (int64_t i = 0; i < d; ++i)
      out[r / heads * out_stride + r % heads * d + i] = acc[r * acc_stride + i] / sum[r] + 0.0f;
}

bool RmsNorm(const float* x, const float* weight, int64_t n, float eps, float* out) {
  float lanes[16] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i % 16] = Fma(x[i], x[i], lanes[i % 16]);
  const float sum = LaneTree(lanes);
  const float scale = 1.0f / __builtin_sqrtf(sum / static_cast<float>(n) + eps);
  for (int64_t i = 0; i < n; ++i) out[i] = (x[i] * scale) * weight[i];
  return Finite(sum);
}

void Rope(float* x, const float* cos, const float* sin, int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[i], b = x[i + half];
    x[i] = Fma(-b, sin[i], a * cos[i]);
    x[i + half] = Fma(a, sin[i], b * cos[i]);
  }
}

bool AllFinite(const float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    if (!Finite(x[i])) return false;
  return true;
}

int64_t Argmax(const float* x, int64_t n) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; ++i)
    if (x[i] > x[best]) best = i;
  return best;
}

float ExpSum(const float* x, int64_t n, float shift, float* p) {
  float sum = 0.0f;
  for (int64_t begin = 0; begin < n; begin += kVocabBlock) {
    const int64_t end = begin + kVocabBlock < n ? begin + kVocabBlock : n;
    float lanes[16] = {};
    for (int64_t i = begin; i < end; ++i) {
      p[i] = Exp(x[i] - shift);
      lanes[(i - begin) % 16] = lanes[(i - begin) % 16] + p[i];
    }
    sum = sum + LaneTree(lanes);
  }
  return sum;
}

template <typename Bf16Rule>
constexpr Table Make(const char* name) {
  Table table = {};
  table.name = name;
  table.matrix[kBf16Bf16] = Matrix<Bf16Store, Bf16Rule, true>::Ops();
  table.matrix[kBf16F32] = Matrix<Bf16Store, FmaRule, false>::Ops();
  table.matrix[kF16F32] = Matrix<F16Store, FmaRule, false>::Ops();
  table.matrix[kF32F32] = Matrix<F32Store, FmaRule, false>::Ops();
  table.attention[kAttentionF32] = Attention<F32Store, FmaRule, false>::Ops();
  table.attention[kAttentionBf16] = Attention<Bf16Store, Bf16Rule, true>::Ops();
  table.attention_merge = AttentionMerge;
  table.attention_finish = AttentionFinish;
  table.rms_norm = RmsNorm;
  table.rope = Rope;
  table.all_finite = AllFinite;
  table.argmax = Argmax;
  table.exp_sum = ExpSum;
  table.apply[kSilu] = ref::ApplySilu;
  table.apply[kGelu] = ref::ApplyGelu;
  table.apply[kTanh] = ref::ApplyTanh;
  table.apply[kSigmoid] = ref::ApplySigmoid;
  table.apply[kSoftplus] = ref::ApplySoftplus;
  table.conv = ref::Conv;
  table.scan = ref::Scan;
  table.layer_norm = ref::LayerNorm;
  table.mix = ref::Mix;
  table.backward = &ref::kBackward;
  return table;
}

constinit const Table kRef = Make<FmaRule>("ref");
constinit const Table kRefDpbf16 = Make<Dpbf16Rule>("ref-avx512bf16");
constinit const Table kRefAmx = Make<AmxRule>("ref-amx");

}  // namespace

float RefExp(float x) { return Exp(x); }
float RefSilu(float x) { return Silu(x); }
const Table* RefTable() { return &kRef; }
const Table* RefAvx512Bf16Table() { return &kRefDpbf16; }
const Table* RefAmxTable() { return &kRefAmx; }

}  // namespace fusiontree::kernels
