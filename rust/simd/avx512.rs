//! AVX-512 (F, BW, DQ, VL): 16 lanes of f32, 8 of f64. Masked loads and stores do the odd ends.

use super::{Isa, Lanes, Task, Vector};
use crate::numerics::exp2_of_fraction;
use half::{bf16, f16};
use std::arch::x86_64::*;

pub struct Avx512;

impl Isa for Avx512 {
    type F32 = F32x16;
    type F64 = F64x8;
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma,f16c")]
#[inline(never)]
pub unsafe fn run<K: Task>(task: K) -> K::Output {
    task.run::<Avx512>()
}

#[derive(Clone, Copy)]
pub struct F32x16(__m512);
#[derive(Clone, Copy)]
pub struct F64x8(__m512d);

/// The first `n` of 16 or 8 lanes.
#[inline(always)]
fn mask16(n: usize) -> __mmask16 {
    ((1u32 << n) - 1) as __mmask16
}
#[inline(always)]
fn mask8(n: usize) -> __mmask8 {
    ((1u32 << n) - 1) as __mmask8
}

impl Vector for F32x16 {
    type Scalar = f32;
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self(_mm512_set1_ps(x))
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        Self(_mm512_loadu_ps(p))
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        _mm512_storeu_ps(p, self.0);
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(_mm512_add_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(_mm512_sub_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(_mm512_mul_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(_mm512_div_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        Self(_mm512_fmadd_ps(self.0, b.0, c.0))
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(_mm512_max_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn scale_by_power_of_two(self, rounded: Self) -> Self {
        let n = _mm512_sub_ps(rounded.0, _mm512_set1_ps(12_582_912.0));
        Self(_mm512_scalef_ps(self.0, n))
    }
    #[inline(always)]
    unsafe fn zero_where_less(self, x: Self, low: Self) -> Self {
        let kept = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x.0, low.0);
        Self(_mm512_maskz_mov_ps(kept, self.0))
    }
    #[inline(always)]
    unsafe fn zero_where_nan(self) -> Self {
        let kept = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(self.0, self.0);
        Self(_mm512_maskz_mov_ps(kept, self.0))
    }
    #[inline(always)]
    unsafe fn any_greater(self, other: Self) -> bool {
        _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, other.0) != 0
    }
    #[inline(always)]
    unsafe fn count_greater(self, other: Self, n: usize) -> usize {
        let greater = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, other.0);
        (greater & mask16(n)).count_ones() as usize
    }
    #[inline(always)]
    unsafe fn first(self, n: usize) -> Self {
        Self(_mm512_mask_blend_ps(mask16(n), _mm512_set1_ps(f32::NEG_INFINITY), self.0))
    }
    #[inline(always)]
    unsafe fn keep(self, mask: *const u8, n: usize) -> Self {
        let bytes = _mm_maskz_loadu_epi8(mask16(n), mask.cast());
        let kept = _mm_test_epi8_mask(bytes, bytes);
        Self(_mm512_mask_blend_ps(kept, _mm512_set1_ps(f32::NEG_INFINITY), self.0))
    }
    #[inline(always)]
    unsafe fn deinterleave(self, next: Self) -> (Self, Self) {
        let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
        let pick = |lanes| Self(_mm512_permutex2var_ps(self.0, lanes, next.0));
        (pick(even), pick(odd))
    }
    #[inline(always)]
    unsafe fn interleave(self, odd: Self) -> (Self, Self) {
        let first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        let second =
            _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        let pick = |lanes| Self(_mm512_permutex2var_ps(self.0, lanes, odd.0));
        (pick(first), pick(second))
    }
    #[inline(always)]
    unsafe fn extract(self) -> f32 {
        _mm512_cvtss_f32(self.0)
    }
    #[inline(always)]
    unsafe fn reduce_sum(self) -> f32 {
        _mm512_reduce_add_ps(self.0)
    }
    #[inline(always)]
    unsafe fn reduce_max(self) -> f32 {
        _mm512_reduce_max_ps(self.0)
    }
    /// Rounds with one instruction and scales with another, which does subnormal results too.
    #[inline(always)]
    unsafe fn exp2(self) -> Self {
        let x = _mm512_max_ps(_mm512_set1_ps(-160.0), self.0);
        let n = _mm512_roundscale_ps::<0>(x);
        let p = exp2_of_fraction(Self(_mm512_sub_ps(x, n)));
        Self(_mm512_scalef_ps(p.0, n))
    }
}

impl Lanes<f32> for F32x16 {
    #[inline(always)]
    unsafe fn load_from<const FULL: bool>(p: *const f32, n: usize) -> Self {
        if FULL { Self::load(p) } else { Self(_mm512_maskz_loadu_ps(mask16(n), p)) }
    }
    #[inline(always)]
    unsafe fn store_to<const FULL: bool>(self, p: *mut f32, n: usize) {
        if FULL { self.store(p) } else { _mm512_mask_storeu_ps(p, mask16(n), self.0) }
    }
    #[inline(always)]
    unsafe fn stream_to(self, p: *mut f32) {
        _mm512_stream_ps(p, self.0);
    }
}

#[inline(always)]
unsafe fn load_16_bits<const FULL: bool>(p: *const i16, n: usize) -> __m256i {
    if FULL { _mm256_loadu_si256(p.cast()) } else { _mm256_maskz_loadu_epi16(mask16(n), p) }
}
#[inline(always)]
unsafe fn store_16_bits<const FULL: bool>(p: *mut i16, n: usize, bits: __m256i) {
    if FULL {
        _mm256_storeu_si256(p.cast(), bits)
    } else {
        _mm256_mask_storeu_epi16(p, mask16(n), bits)
    }
}

impl Lanes<f16> for F32x16 {
    #[inline(always)]
    unsafe fn load_from<const FULL: bool>(p: *const f16, n: usize) -> Self {
        Self(_mm512_cvtph_ps(load_16_bits::<FULL>(p.cast(), n)))
    }
    #[inline(always)]
    unsafe fn store_to<const FULL: bool>(self, p: *mut f16, n: usize) {
        let bits = _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0);
        store_16_bits::<FULL>(p.cast(), n, bits);
    }
}

impl Lanes<bf16> for F32x16 {
    #[inline(always)]
    unsafe fn load_from<const FULL: bool>(p: *const bf16, n: usize) -> Self {
        let wide = _mm512_cvtepu16_epi32(load_16_bits::<FULL>(p.cast(), n));
        Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide)))
    }
    /// To nearest, ties to even. (AVX512-BF16's own instruction flushes subnormals, so it is not used.)
    #[inline(always)]
    unsafe fn store_to<const FULL: bool>(self, p: *mut bf16, n: usize) {
        let bits = _mm512_castps_si512(self.0);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x0040_0000));
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0);
        let high = _mm512_srli_epi32::<16>(_mm512_mask_blend_epi32(nan, rounded, quiet));
        store_16_bits::<FULL>(p.cast(), n, _mm512_cvtepi32_epi16(high));
    }
}

impl Vector for F64x8 {
    type Scalar = f64;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f64) -> Self {
        Self(_mm512_set1_pd(x))
    }
    #[inline(always)]
    unsafe fn load(p: *const f64) -> Self {
        Self(_mm512_loadu_pd(p))
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f64) {
        _mm512_storeu_pd(p, self.0);
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(_mm512_add_pd(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(_mm512_sub_pd(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(_mm512_mul_pd(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(_mm512_div_pd(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        Self(_mm512_fmadd_pd(self.0, b.0, c.0))
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(_mm512_max_pd(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn scale_by_power_of_two(self, rounded: Self) -> Self {
        let n = _mm512_sub_pd(rounded.0, _mm512_set1_pd(6_755_399_441_055_744.0));
        Self(_mm512_scalef_pd(self.0, n))
    }
    #[inline(always)]
    unsafe fn zero_where_less(self, x: Self, low: Self) -> Self {
        let kept = _mm512_cmp_pd_mask::<_CMP_NLT_UQ>(x.0, low.0);
        Self(_mm512_maskz_mov_pd(kept, self.0))
    }
    #[inline(always)]
    unsafe fn zero_where_nan(self) -> Self {
        let kept = _mm512_cmp_pd_mask::<_CMP_ORD_Q>(self.0, self.0);
        Self(_mm512_maskz_mov_pd(kept, self.0))
    }
    #[inline(always)]
    unsafe fn any_greater(self, other: Self) -> bool {
        _mm512_cmp_pd_mask::<_CMP_GT_OQ>(self.0, other.0) != 0
    }
    #[inline(always)]
    unsafe fn count_greater(self, other: Self, n: usize) -> usize {
        let greater = _mm512_cmp_pd_mask::<_CMP_GT_OQ>(self.0, other.0);
        (greater & mask8(n)).count_ones() as usize
    }
    #[inline(always)]
    unsafe fn first(self, n: usize) -> Self {
        Self(_mm512_mask_blend_pd(mask8(n), _mm512_set1_pd(f64::NEG_INFINITY), self.0))
    }
    #[inline(always)]
    unsafe fn keep(self, mask: *const u8, n: usize) -> Self {
        let bytes = _mm_maskz_loadu_epi8(mask16(n), mask.cast());
        let kept = _mm_test_epi8_mask(bytes, bytes) as __mmask8;
        Self(_mm512_mask_blend_pd(kept, _mm512_set1_pd(f64::NEG_INFINITY), self.0))
    }
    #[inline(always)]
    unsafe fn deinterleave(self, next: Self) -> (Self, Self) {
        let even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
        let odd = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15);
        let pick = |lanes| Self(_mm512_permutex2var_pd(self.0, lanes, next.0));
        (pick(even), pick(odd))
    }
    #[inline(always)]
    unsafe fn interleave(self, odd: Self) -> (Self, Self) {
        let first = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
        let second = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
        let pick = |lanes| Self(_mm512_permutex2var_pd(self.0, lanes, odd.0));
        (pick(first), pick(second))
    }
    #[inline(always)]
    unsafe fn extract(self) -> f64 {
        _mm512_cvtsd_f64(self.0)
    }
    #[inline(always)]
    unsafe fn reduce_sum(self) -> f64 {
        _mm512_reduce_add_pd(self.0)
    }
    #[inline(always)]
    unsafe fn reduce_max(self) -> f64 {
        _mm512_reduce_max_pd(self.0)
    }
    /// Rounds with one instruction and scales with another, which does subnormal results too.
    #[inline(always)]
    unsafe fn exp2(self) -> Self {
        let x = _mm512_max_pd(_mm512_set1_pd(-1100.0), self.0);
        let n = _mm512_roundscale_pd::<0>(x);
        let p = exp2_of_fraction(Self(_mm512_sub_pd(x, n)));
        Self(_mm512_scalef_pd(p.0, n))
    }
}

impl Lanes<f64> for F64x8 {
    #[inline(always)]
    unsafe fn load_from<const FULL: bool>(p: *const f64, n: usize) -> Self {
        if FULL { Self::load(p) } else { Self(_mm512_maskz_loadu_pd(mask8(n), p)) }
    }
    #[inline(always)]
    unsafe fn store_to<const FULL: bool>(self, p: *mut f64, n: usize) {
        if FULL { self.store(p) } else { _mm512_mask_storeu_pd(p, mask8(n), self.0) }
    }
    #[inline(always)]
    unsafe fn stream_to(self, p: *mut f64) {
        _mm512_stream_pd(p, self.0);
    }
}
