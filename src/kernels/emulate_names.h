// The emulated intrinsics under their hardware names; included by emulate_avx512.h alone. The compiler's own
// header has been read before, so its functions and macros of these names are hidden from here on.
#ifndef FUSIONTREE_KERNELS_EMULATE_NAMES_H_
#define FUSIONTREE_KERNELS_EMULATE_NAMES_H_

#define __m512 emulated::F512
#define __m512d emulated::D512
#define __m512i emulated::I512
#define __m512bh emulated::I512

#undef _mm512_setzero_ps
#define _mm512_setzero_ps emulated::setzero_ps
#undef _mm512_set1_ps
#define _mm512_set1_ps emulated::set1_ps
#undef _mm512_setr_ps
#define _mm512_setr_ps emulated::setr_ps
#undef _mm512_setzero_si512
#define _mm512_setzero_si512 emulated::setzero_si512
#undef _mm512_set1_epi32
#define _mm512_set1_epi32 emulated::set1_epi32
#undef _mm512_set1_epi16
#define _mm512_set1_epi16 emulated::set1_epi16
#undef _mm512_setr_epi32
#define _mm512_setr_epi32 emulated::setr_epi32
#undef _mm512_set_epi32
#define _mm512_set_epi32 emulated::set_epi32
#undef _mm512_loadu_ps
#define _mm512_loadu_ps emulated::loadu_ps
#undef _mm512_load_ps
#define _mm512_load_ps emulated::load_ps
#undef _mm512_storeu_ps
#define _mm512_storeu_ps emulated::storeu_ps
#undef _mm512_store_ps
#define _mm512_store_ps emulated::store_ps
#undef _mm512_mask_loadu_ps
#define _mm512_mask_loadu_ps emulated::mask_loadu_ps
#undef _mm512_maskz_loadu_ps
#define _mm512_maskz_loadu_ps emulated::maskz_loadu_ps
#undef _mm512_mask_storeu_ps
#define _mm512_mask_storeu_ps emulated::mask_storeu_ps
#undef _mm512_loadu_si512
#define _mm512_loadu_si512 emulated::loadu_si512
#undef _mm512_load_si512
#define _mm512_load_si512 emulated::load_si512
#undef _mm512_storeu_si512
#define _mm512_storeu_si512 emulated::storeu_si512
#undef _mm512_store_si512
#define _mm512_store_si512 emulated::store_si512
#undef _mm512_maskz_loadu_epi32
#define _mm512_maskz_loadu_epi32 emulated::maskz_loadu_epi32
#undef _mm512_mask_storeu_epi32
#define _mm512_mask_storeu_epi32 emulated::mask_storeu_epi32
#undef _mm512_maskz_loadu_epi16
#define _mm512_maskz_loadu_epi16 emulated::maskz_loadu_epi16
#undef _mm512_mask_storeu_epi16
#define _mm512_mask_storeu_epi16 emulated::mask_storeu_epi16
#undef _mm256_maskz_loadu_epi16
#define _mm256_maskz_loadu_epi16 emulated::maskz_loadu_epi16_256
#undef _mm256_mask_storeu_epi16
#define _mm256_mask_storeu_epi16 emulated::mask_storeu_epi16_256
#undef _mm512_mask_i32gather_epi32
#define _mm512_mask_i32gather_epi32 emulated::mask_i32gather_epi32
#undef _mm512_add_ps
#define _mm512_add_ps emulated::add_ps
#undef _mm512_sub_ps
#define _mm512_sub_ps emulated::sub_ps
#undef _mm512_mul_ps
#define _mm512_mul_ps emulated::mul_ps
#undef _mm512_div_ps
#define _mm512_div_ps emulated::div_ps
#undef _mm512_sqrt_ps
#define _mm512_sqrt_ps emulated::sqrt_ps
#undef _mm512_min_ps
#define _mm512_min_ps emulated::min_ps
#undef _mm512_max_ps
#define _mm512_max_ps emulated::max_ps
#undef _mm512_fmadd_ps
#define _mm512_fmadd_ps emulated::fmadd_ps
#undef _mm512_fmsub_ps
#define _mm512_fmsub_ps emulated::fmsub_ps
#undef _mm512_fnmadd_ps
#define _mm512_fnmadd_ps emulated::fnmadd_ps
#undef _mm512_roundscale_ps
#define _mm512_roundscale_ps emulated::roundscale_ps
#undef _mm512_scalef_ps
#define _mm512_scalef_ps emulated::scalef_ps
#undef _mm512_cvtps_epi32
#define _mm512_cvtps_epi32 emulated::cvtps_epi32
#undef _mm512_cvttps_epi32
#define _mm512_cvttps_epi32 emulated::cvttps_epi32
#undef _mm512_cvtepi32_ps
#define _mm512_cvtepi32_ps emulated::cvtepi32_ps
#undef _mm512_cvtph_ps
#define _mm512_cvtph_ps emulated::cvtph_ps
#undef _mm512_add_epi32
#define _mm512_add_epi32 emulated::add_epi32
#undef _mm512_sub_epi32
#define _mm512_sub_epi32 emulated::sub_epi32
#undef _mm512_and_si512
#define _mm512_and_si512 emulated::and_si512
#undef _mm512_or_si512
#define _mm512_or_si512 emulated::or_si512
#undef _mm512_xor_si512
#define _mm512_xor_si512 emulated::xor_si512
#undef _mm512_andnot_si512
#define _mm512_andnot_si512 emulated::andnot_si512
#undef _mm512_slli_epi32
#define _mm512_slli_epi32 emulated::slli_epi32
#undef _mm512_srli_epi32
#define _mm512_srli_epi32 emulated::srli_epi32
#undef _mm512_srai_epi32
#define _mm512_srai_epi32 emulated::srai_epi32
#undef _mm512_min_epi32
#define _mm512_min_epi32 emulated::min_epi32
#undef _mm512_cvtepu16_epi32
#define _mm512_cvtepu16_epi32 emulated::cvtepu16_epi32
#undef _mm512_cvtepi32_epi16
#define _mm512_cvtepi32_epi16 emulated::cvtepi32_epi16
#undef _mm512_and_ps
#define _mm512_and_ps emulated::and_ps
#undef _mm512_or_ps
#define _mm512_or_ps emulated::or_ps
#undef _mm512_xor_ps
#define _mm512_xor_ps emulated::xor_ps
#undef _mm512_cmp_ps_mask
#define _mm512_cmp_ps_mask emulated::cmp_ps_mask
#undef _mm512_mask_cmp_ps_mask
#define _mm512_mask_cmp_ps_mask emulated::mask_cmp_ps_mask
#undef _mm512_cmpeq_epi32_mask
#define _mm512_cmpeq_epi32_mask emulated::cmpeq_epi32_mask
#undef _mm512_cmpneq_epi32_mask
#define _mm512_cmpneq_epi32_mask emulated::cmpneq_epi32_mask
#undef _mm512_cmpgt_epi32_mask
#define _mm512_cmpgt_epi32_mask emulated::cmpgt_epi32_mask
#undef _mm512_cmplt_epi32_mask
#define _mm512_cmplt_epi32_mask emulated::cmplt_epi32_mask
#undef _mm512_cmpgt_epu32_mask
#define _mm512_cmpgt_epu32_mask emulated::cmpgt_epu32_mask
#undef _mm512_cmpge_epu32_mask
#define _mm512_cmpge_epu32_mask emulated::cmpge_epu32_mask
#undef _mm512_cmpeq_epi16_mask
#define _mm512_cmpeq_epi16_mask emulated::cmpeq_epi16_mask
#undef _mm512_mask_blend_ps
#define _mm512_mask_blend_ps emulated::mask_blend_ps
#undef _mm512_mask_mov_ps
#define _mm512_mask_mov_ps emulated::mask_mov_ps
#undef _mm512_maskz_mov_ps
#define _mm512_maskz_mov_ps emulated::maskz_mov_ps
#undef _mm512_mask_blend_epi32
#define _mm512_mask_blend_epi32 emulated::mask_blend_epi32
#undef _mm512_mask_mov_epi32
#define _mm512_mask_mov_epi32 emulated::mask_mov_epi32
#undef _mm512_maskz_mov_epi32
#define _mm512_maskz_mov_epi32 emulated::maskz_mov_epi32
#undef _mm512_unpacklo_epi32
#define _mm512_unpacklo_epi32 emulated::unpacklo_epi32
#undef _mm512_unpackhi_epi32
#define _mm512_unpackhi_epi32 emulated::unpackhi_epi32
#undef _mm512_unpacklo_epi64
#define _mm512_unpacklo_epi64 emulated::unpacklo_epi64
#undef _mm512_unpackhi_epi64
#define _mm512_unpackhi_epi64 emulated::unpackhi_epi64
#undef _mm512_shuffle_i32x4
#define _mm512_shuffle_i32x4 emulated::shuffle_i32x4
#undef _mm512_unpacklo_ps
#define _mm512_unpacklo_ps emulated::unpacklo_ps
#undef _mm512_unpackhi_ps
#define _mm512_unpackhi_ps emulated::unpackhi_ps
#undef _mm512_unpacklo_pd
#define _mm512_unpacklo_pd emulated::unpacklo_pd
#undef _mm512_unpackhi_pd
#define _mm512_unpackhi_pd emulated::unpackhi_pd
#undef _mm512_shuffle_f32x4
#define _mm512_shuffle_f32x4 emulated::shuffle_f32x4
#undef _mm512_permutexvar_ps
#define _mm512_permutexvar_ps emulated::permutexvar_ps
#undef _mm512_permutexvar_epi32
#define _mm512_permutexvar_epi32 emulated::permutexvar_epi32
#undef _mm512_permutex2var_ps
#define _mm512_permutex2var_ps emulated::permutex2var_ps
#undef _mm512_permutex2var_epi32
#define _mm512_permutex2var_epi32 emulated::permutex2var_epi32
#undef _mm512_permutexvar_epi16
#define _mm512_permutexvar_epi16 emulated::permutexvar_epi16
#undef _mm512_inserti64x4
#define _mm512_inserti64x4 emulated::inserti64x4
#undef _mm512_extracti64x4_epi64
#define _mm512_extracti64x4_epi64 emulated::extracti64x4_epi64
#undef _mm512_extractf32x8_ps
#define _mm512_extractf32x8_ps emulated::extractf32x8_ps
#undef _mm512_extractf64x4_pd
#define _mm512_extractf64x4_pd emulated::extractf64x4_pd
#undef _mm512_insertf32x8
#define _mm512_insertf32x8 emulated::insertf32x8
#undef _mm512_castsi256_si512
#define _mm512_castsi256_si512 emulated::castsi256_si512
#undef _mm512_castps256_ps512
#define _mm512_castps256_ps512 emulated::castps256_ps512
#undef _mm512_broadcast_f32x4
#define _mm512_broadcast_f32x4 emulated::broadcast_f32x4
#undef _mm512_dpbf16_ps
#define _mm512_dpbf16_ps emulated::dpbf16_ps
#undef _mm512_castps_si512
#define _mm512_castps_si512 emulated::Cast<emulated::I512>
#undef _mm512_castsi512_ps
#define _mm512_castsi512_ps emulated::Cast<emulated::F512>
#undef _mm512_castps_pd
#define _mm512_castps_pd emulated::Cast<emulated::D512>
#undef _mm512_castpd_ps
#define _mm512_castpd_ps emulated::Cast<emulated::F512>
#undef _mm512_castsi512_pd
#define _mm512_castsi512_pd emulated::Cast<emulated::D512>
#undef _mm512_castpd_si512
#define _mm512_castpd_si512 emulated::Cast<emulated::I512>
#undef _mm512_castps512_ps256
#define _mm512_castps512_ps256 emulated::Cast<__m256>
#undef _mm512_castsi512_si256
#define _mm512_castsi512_si256 emulated::Cast<__m256i>
#undef _mm512_castpd512_pd256
#define _mm512_castpd512_pd256 emulated::Cast<__m256d>
#undef _mm512_castps512_ps128
#define _mm512_castps512_ps128 emulated::Cast<__m128>

#endif  // FUSIONTREE_KERNELS_EMULATE_NAMES_H_
