//! Registers of f64.

use super::*;

impl Vector for F64x8 {
    type Scalar = f64;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn load(p: *const f64) -> Self {
        Self(_mm512_loadu_pd(p))
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f64) {
        _mm512_storeu_pd(p, self.0);
    }
    #[inline(always)]
    unsafe fn keep(self, mask: *const u8, n: usize) -> Self {
        let bytes = _mm_maskz_loadu_epi8(mask16(n), mask.cast());
        let kept = _mm_test_epi8_mask(bytes, bytes) as __mmask8;
        Self(_mm512_mask_blend_pd(kept, _mm512_set1_pd(f64::NEG_INFINITY), self.0))
    }
    #[inline(always)]
    unsafe fn permute(self, lanes: *const u8) -> Self {
        let lanes = _mm512_cvtepu8_epi64(_mm_loadl_epi64(lanes.cast()));
        Self(_mm512_permutexvar_pd(lanes, self.0))
    }

    arithmetic! {
        fn splat(x: f64) -> Self {
            Self(_mm512_set1_pd(x))
        }
        fn add(self, other: Self) -> Self {
            Self(_mm512_add_pd(self.0, other.0))
        }
        fn sub(self, other: Self) -> Self {
            Self(_mm512_sub_pd(self.0, other.0))
        }
        fn mul(self, other: Self) -> Self {
            Self(_mm512_mul_pd(self.0, other.0))
        }
        fn div(self, other: Self) -> Self {
            Self(_mm512_div_pd(self.0, other.0))
        }
        fn mul_add(self, b: Self, c: Self) -> Self {
            Self(_mm512_fmadd_pd(self.0, b.0, c.0))
        }
        fn max(self, other: Self) -> Self {
            Self(_mm512_max_pd(self.0, other.0))
        }
        fn scale_by_power_of_two(self, rounded: Self) -> Self {
            let n = _mm512_sub_pd(rounded.0, _mm512_set1_pd(6_755_399_441_055_744.0));
            Self(_mm512_scalef_pd(self.0, n))
        }
        fn zero_where_less(self, x: Self, low: Self) -> Self {
            let kept = _mm512_cmp_pd_mask::<_CMP_NLT_UQ>(x.0, low.0);
            Self(_mm512_maskz_mov_pd(kept, self.0))
        }
        fn zero_where_nan(self) -> Self {
            let kept = _mm512_cmp_pd_mask::<_CMP_ORD_Q>(self.0, self.0);
            Self(_mm512_maskz_mov_pd(kept, self.0))
        }
        fn any_greater(self, other: Self) -> bool {
            _mm512_cmp_pd_mask::<_CMP_GT_OQ>(self.0, other.0) != 0
        }
        fn count_greater(self, other: Self, n: usize) -> usize {
            let greater = _mm512_cmp_pd_mask::<_CMP_GT_OQ>(self.0, other.0);
            (greater & mask8(n)).count_ones() as usize
        }
        fn first(self, n: usize) -> Self {
            Self(_mm512_mask_blend_pd(mask8(n), _mm512_set1_pd(f64::NEG_INFINITY), self.0))
        }
        fn deinterleave(self, next: Self) -> (Self, Self) {
            let even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
            let odd = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15);
            let pick = |lanes| Self(_mm512_permutex2var_pd(self.0, lanes, next.0));
            (pick(even), pick(odd))
        }
        fn interleave(self, odd: Self) -> (Self, Self) {
            let first = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
            let second = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
            let pick = |lanes| Self(_mm512_permutex2var_pd(self.0, lanes, odd.0));
            (pick(first), pick(second))
        }
        fn reduce_sum(self) -> f64 {
            _mm512_reduce_add_pd(self.0)
        }
        fn reduce_max(self) -> f64 {
            _mm512_reduce_max_pd(self.0)
        }
        /// Rounds with one instruction and scales with another, which does subnormal results too.
        fn exp2(self) -> Self {
            let x = _mm512_max_pd(_mm512_set1_pd(-1100.0), self.0);
            let n = _mm512_roundscale_pd::<0>(x);
            let p = exp2_of_fraction(Self(_mm512_sub_pd(x, n)));
            Self(_mm512_scalef_pd(p.0, n))
        }
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
