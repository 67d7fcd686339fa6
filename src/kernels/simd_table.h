// The table of a variant: every entry from simd_*.h on the lanes that vec.h found. To be included by one .cc
// a variant, compiled with that variant's flags.
#ifndef FUSIONTREE_KERNELS_SIMD_TABLE_H_
#define FUSIONTREE_KERNELS_SIMD_TABLE_H_

#include "kernels/simd_attention.h"
#include "kernels/simd_attention_backward.h"
#include "kernels/simd_backward.h"
#include "kernels/simd_matmul.h"
#include "kernels/simd_pack.h"
#include "kernels/simd_rows.h"
#include "kernels/simd_scan_backward.h"
#include "kernels/simd_sequence.h"

namespace fusiontree::kernels {
namespace {

template <typename Line, bool kRound, auto kPack, auto kUnpack>
struct Matrix {
  static size_t PanelBytes(int64_t k, int64_t) { return static_cast<size_t>(k * Line::kBytes); }
  static size_t RowsBytes(int64_t m, int64_t k, int64_t) {
    return static_cast<size_t>(m * k) * sizeof(float);
  }
  static constexpr MatrixOps Ops() {
    return {kTileRows, 1, PanelBytes, RowsBytes, kPack, kUnpack, PackRows<kRound>, Product<Line>::Matmul};
  }
};

constexpr BackwardOps kBackward = {{ApplyBackward<kSilu>, ApplyBackward<kGelu>, ApplyBackward<kTanh>,
                                    ApplyBackward<kSigmoid>, ApplyBackward<kSoftplus>},
                                   ConvBackward,
                                   ScanBackward,
                                   RmsNormBackward,
                                   LayerNormBackward,
                                   NormWeight,
                                   MixBackward,
                                   RopeBackward,
                                   AttentionBackward,
                                   AttentionDots};

constexpr Table MakeTable(const char* name) {
  Table table = {};
  table.name = name;
  table.matrix[kBf16Bf16] = Matrix<LineBf16, true, Pack16<true>::Run, UnpackRowBf16>::Ops();
  table.matrix[kBf16F32] = Matrix<LineBf16, false, Pack16<true>::Run, UnpackRowBf16>::Ops();
  table.matrix[kF16F32] = Matrix<LineF16, false, Pack16<false>::Run, UnpackRow<LineF16, false>>::Ops();
  table.matrix[kF32F32] = Matrix<LineF32, false, Pack32::Run, UnpackRow<LineF32, true>>::Ops();
  table.attention[kAttentionF32] = Attend<LineF32, false>::Ops();
  table.attention[kAttentionBf16] = Attend<LineBf16, true>::Ops();
  table.attention_merge = AttentionMerge;
  table.attention_finish = AttentionFinish;
  table.rms_norm = RmsNorm;
  table.rope = Rope;
  table.all_finite = AllFinite;
  table.argmax = Argmax;
  table.exp_sum = ExpSum;
  table.apply[kSilu] = Apply<kSilu>;
  table.apply[kGelu] = Apply<kGelu>;
  table.apply[kTanh] = Apply<kTanh>;
  table.apply[kSigmoid] = Apply<kSigmoid>;
  table.apply[kSoftplus] = Apply<kSoftplus>;
  table.conv = Conv;
  table.scan = Scan;
  table.layer_norm = LayerNorm;
  table.mix = Mix;
  table.backward = &kBackward;
  return table;
}

}  // namespace
}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_SIMD_TABLE_H_
