//! Registers of f32.

use super::*;

impl Vector for F32x16 {
    type Scalar = f32;
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        Self(_mm512_loadu_ps(p))
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        _mm512_storeu_ps(p, self.0);
    }
    #[inline(always)]
    unsafe fn keep(self, mask: *const u8, n: usize) -> Self {
        let bytes = _mm_maskz_loadu_epi8(mask16(n), mask.cast());
        let kept = _mm_test_epi8_mask(bytes, bytes);
        Self(_mm512_mask_blend_ps(kept, _mm512_set1_ps(f32::NEG_INFINITY), self.0))
    }
    #[inline(always)]
    unsafe fn permute(self, lanes: *const u8) -> Self {
        let lanes = _mm512_cvtepu8_epi32(_mm_loadu_si128(lanes.cast()));
        Self(_mm512_permutexvar_ps(lanes, self.0))
    }

    arithmetic! {
        fn splat(x: f32) -> Self {
            Self(_mm512_set1_ps(x))
        }
        fn add(self, other: Self) -> Self {
            Self(_mm512_add_ps(self.0, other.0))
        }
        fn sub(self, other: Self) -> Self {
            Self(_mm512_sub_ps(self.0, other.0))
        }
        fn mul(self, other: Self) -> Self {
            Self(_mm512_mul_ps(self.0, other.0))
        }
        fn div(self, other: Self) -> Self {
            Self(_mm512_div_ps(self.0, other.0))
        }
        fn mul_add(self, b: Self, c: Self) -> Self {
            Self(_mm512_fmadd_ps(self.0, b.0, c.0))
        }
        fn max(self, other: Self) -> Self {
            Self(_mm512_max_ps(self.0, other.0))
        }
        fn scale_by_power_of_two(self, rounded: Self) -> Self {
            let n = _mm512_sub_ps(rounded.0, _mm512_set1_ps(12_582_912.0));
            Self(_mm512_scalef_ps(self.0, n))
        }
        fn zero_where_less(self, x: Self, low: Self) -> Self {
            let kept = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x.0, low.0);
            Self(_mm512_maskz_mov_ps(kept, self.0))
        }
        fn zero_where_nan(self) -> Self {
            let kept = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(self.0, self.0);
            Self(_mm512_maskz_mov_ps(kept, self.0))
        }
        fn any_greater(self, other: Self) -> bool {
            _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, other.0) != 0
        }
        fn count_greater(self, other: Self, n: usize) -> usize {
            let greater = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, other.0);
            (greater & mask16(n)).count_ones() as usize
        }
        fn first(self, n: usize) -> Self {
            Self(_mm512_mask_blend_ps(mask16(n), _mm512_set1_ps(f32::NEG_INFINITY), self.0))
        }
        fn deinterleave(self, next: Self) -> (Self, Self) {
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
            let pick = |lanes| Self(_mm512_permutex2var_ps(self.0, lanes, next.0));
            (pick(even), pick(odd))
        }
        fn interleave(self, odd: Self) -> (Self, Self) {
            let first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let second =
                _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
            let pick = |lanes| Self(_mm512_permutex2var_ps(self.0, lanes, odd.0));
            (pick(first), pick(second))
        }
        fn reduce_sum(self) -> f32 {
            _mm512_reduce_add_ps(self.0)
        }
        fn reduce_max(self) -> f32 {
            _mm512_reduce_max_ps(self.0)
        }
        /// Rounds with one instruction and scales with another, which does subnormal results too.
        fn exp2(self) -> Self {
            let x = _mm512_max_ps(_mm512_set1_ps(-160.0), self.0);
            let n = _mm512_roundscale_ps::<0>(x);
            let p = exp2_of_fraction(Self(_mm512_sub_ps(x, n)));
            Self(_mm512_scalef_ps(p.0, n))
        }
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
