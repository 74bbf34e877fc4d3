//! Registers of f64.

use super::*;

impl Vector for F64x4 {
    type Scalar = f64;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn load(p: *const f64) -> Self {
        Self(_mm256_loadu_pd(p))
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f64) {
        _mm256_storeu_pd(p, self.0);
    }
    #[inline(always)]
    unsafe fn keep(self, mask: *const u8, n: usize) -> Self {
        let bytes = if n >= 4 {
            mask.cast::<u32>().read_unaligned()
        } else {
            u32::from_le_bytes(copy_in(mask, n, 0))
        };
        let wide = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(bytes as i32));
        let dropped = _mm256_castsi256_pd(_mm256_cmpeq_epi64(wide, _mm256_setzero_si256()));
        Self(_mm256_blendv_pd(self.0, _mm256_set1_pd(f64::NEG_INFINITY), dropped))
    }
    /// As pairs of 32 bits, which there is an instruction for.
    #[inline(always)]
    unsafe fn permute(self, lanes: *const u8) -> Self {
        let bytes = lanes.cast::<i32>().read_unaligned();
        let low = _mm256_slli_epi64::<1>(_mm256_cvtepu8_epi64(_mm_cvtsi32_si128(bytes)));
        let high = _mm256_slli_epi64::<32>(_mm256_add_epi64(low, _mm256_set1_epi64x(1)));
        let halves = _mm256_or_si256(low, high);
        let picked = _mm256_permutevar8x32_ps(_mm256_castpd_ps(self.0), halves);
        Self(_mm256_castps_pd(picked))
    }

    arithmetic! {
        fn splat(x: f64) -> Self {
            Self(_mm256_set1_pd(x))
        }
        fn add(self, other: Self) -> Self {
            Self(_mm256_add_pd(self.0, other.0))
        }
        fn sub(self, other: Self) -> Self {
            Self(_mm256_sub_pd(self.0, other.0))
        }
        fn mul(self, other: Self) -> Self {
            Self(_mm256_mul_pd(self.0, other.0))
        }
        fn div(self, other: Self) -> Self {
            Self(_mm256_div_pd(self.0, other.0))
        }
        fn mul_add(self, b: Self, c: Self) -> Self {
            Self(_mm256_fmadd_pd(self.0, b.0, c.0))
        }
        fn max(self, other: Self) -> Self {
            Self(_mm256_max_pd(self.0, other.0))
        }
        fn scale_by_power_of_two(self, rounded: Self) -> Self {
            let biased = _mm256_add_epi64(_mm256_castpd_si256(rounded.0), _mm256_set1_epi64x(1023));
            let power = _mm256_castsi256_pd(_mm256_slli_epi64::<52>(biased));
            Self(_mm256_mul_pd(self.0, power))
        }
        fn zero_where_less(self, x: Self, low: Self) -> Self {
            Self(_mm256_and_pd(self.0, _mm256_cmp_pd::<_CMP_NLT_UQ>(x.0, low.0)))
        }
        fn zero_where_nan(self) -> Self {
            Self(_mm256_and_pd(self.0, _mm256_cmp_pd::<_CMP_ORD_Q>(self.0, self.0)))
        }
        fn any_greater(self, other: Self) -> bool {
            _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_GT_OQ>(self.0, other.0)) != 0
        }
        fn count_greater(self, other: Self, n: usize) -> usize {
            let greater = _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_GT_OQ>(self.0, other.0));
            (greater as u32 & ((1 << n) - 1)).count_ones() as usize
        }
        fn first(self, n: usize) -> Self {
            let outside = _mm256_set1_pd(f64::NEG_INFINITY);
            Self(_mm256_blendv_pd(outside, self.0, _mm256_castsi256_pd(mask64(n))))
        }
        fn deinterleave(self, next: Self) -> (Self, Self) {
            let ordered = |x| _mm256_permute4x64_pd::<0xd8>(x);
            let even = _mm256_unpacklo_pd(self.0, next.0);
            let odd = _mm256_unpackhi_pd(self.0, next.0);
            (Self(ordered(even)), Self(ordered(odd)))
        }
        fn interleave(self, odd: Self) -> (Self, Self) {
            let low = _mm256_unpacklo_pd(self.0, odd.0);
            let high = _mm256_unpackhi_pd(self.0, odd.0);
            let first = _mm256_permute2f128_pd::<0x20>(low, high);
            (Self(first), Self(_mm256_permute2f128_pd::<0x31>(low, high)))
        }
        fn reduce_sum(self) -> f64 {
            let two = _mm_add_pd(_mm256_castpd256_pd128(self.0), _mm256_extractf128_pd::<1>(self.0));
            _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
        }
        fn reduce_max(self) -> f64 {
            let two = _mm_max_pd(_mm256_castpd256_pd128(self.0), _mm256_extractf128_pd::<1>(self.0));
            _mm_cvtsd_f64(_mm_max_sd(two, _mm_unpackhi_pd(two, two)))
        }
    }
}

impl Lanes<f64> for F64x4 {
    #[inline(always)]
    unsafe fn load_from<const FULL: bool>(p: *const f64, n: usize) -> Self {
        if FULL { Self::load(p) } else { Self(_mm256_maskload_pd(p, mask64(n))) }
    }
    #[inline(always)]
    unsafe fn store_to<const FULL: bool>(self, p: *mut f64, n: usize) {
        if FULL { self.store(p) } else { _mm256_maskstore_pd(p, mask64(n), self.0) }
    }
    #[inline(always)]
    unsafe fn stream_to(self, p: *mut f64) {
        _mm256_stream_pd(p, self.0);
    }
}
