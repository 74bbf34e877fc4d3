//! Registers of f32.

use super::*;

impl Vector for F32x8 {
    type Scalar = f32;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        Self(_mm256_loadu_ps(p))
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        _mm256_storeu_ps(p, self.0);
    }
    #[inline(always)]
    unsafe fn keep(self, mask: *const u8, n: usize) -> Self {
        let bytes = if n >= 8 {
            mask.cast::<u64>().read_unaligned()
        } else {
            u64::from_le_bytes(copy_in(mask, n, 0))
        };
        let wide = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(bytes as i64));
        let dropped = _mm256_castsi256_ps(_mm256_cmpeq_epi32(wide, _mm256_setzero_si256()));
        Self(_mm256_blendv_ps(self.0, _mm256_set1_ps(f32::NEG_INFINITY), dropped))
    }
    #[inline(always)]
    unsafe fn permute(self, lanes: *const u8) -> Self {
        let lanes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(lanes.cast()));
        Self(_mm256_permutevar8x32_ps(self.0, lanes))
    }

    arithmetic! {
        fn splat(x: f32) -> Self {
            Self(_mm256_set1_ps(x))
        }
        fn add(self, other: Self) -> Self {
            Self(_mm256_add_ps(self.0, other.0))
        }
        fn sub(self, other: Self) -> Self {
            Self(_mm256_sub_ps(self.0, other.0))
        }
        fn mul(self, other: Self) -> Self {
            Self(_mm256_mul_ps(self.0, other.0))
        }
        fn div(self, other: Self) -> Self {
            Self(_mm256_div_ps(self.0, other.0))
        }
        fn mul_add(self, b: Self, c: Self) -> Self {
            Self(_mm256_fmadd_ps(self.0, b.0, c.0))
        }
        fn max(self, other: Self) -> Self {
            Self(_mm256_max_ps(self.0, other.0))
        }
        fn scale_by_power_of_two(self, rounded: Self) -> Self {
            let biased = _mm256_add_epi32(_mm256_castps_si256(rounded.0), _mm256_set1_epi32(127));
            let power = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased));
            Self(_mm256_mul_ps(self.0, power))
        }
        fn zero_where_less(self, x: Self, low: Self) -> Self {
            Self(_mm256_and_ps(self.0, _mm256_cmp_ps::<_CMP_NLT_UQ>(x.0, low.0)))
        }
        fn zero_where_nan(self) -> Self {
            Self(_mm256_and_ps(self.0, _mm256_cmp_ps::<_CMP_ORD_Q>(self.0, self.0)))
        }
        fn any_greater(self, other: Self) -> bool {
            _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(self.0, other.0)) != 0
        }
        fn count_greater(self, other: Self, n: usize) -> usize {
            let greater = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(self.0, other.0));
            (greater as u32 & ((1 << n) - 1)).count_ones() as usize
        }
        fn first(self, n: usize) -> Self {
            let outside = _mm256_set1_ps(f32::NEG_INFINITY);
            Self(_mm256_blendv_ps(outside, self.0, _mm256_castsi256_ps(mask32(n))))
        }
        fn deinterleave(self, next: Self) -> (Self, Self) {
            let ordered = |x| _mm256_castpd_ps(_mm256_permute4x64_pd::<0xd8>(_mm256_castps_pd(x)));
            let even = _mm256_shuffle_ps::<0x88>(self.0, next.0);
            let odd = _mm256_shuffle_ps::<0xdd>(self.0, next.0);
            (Self(ordered(even)), Self(ordered(odd)))
        }
        fn interleave(self, odd: Self) -> (Self, Self) {
            let low = _mm256_unpacklo_ps(self.0, odd.0);
            let high = _mm256_unpackhi_ps(self.0, odd.0);
            let first = _mm256_permute2f128_ps::<0x20>(low, high);
            (Self(first), Self(_mm256_permute2f128_ps::<0x31>(low, high)))
        }
        fn reduce_sum(self) -> f32 {
            let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
        fn reduce_max(self) -> f32 {
            let four = _mm_max_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
    }
}

impl Lanes<f32> for F32x8 {
    #[inline(always)]
    unsafe fn load_from<const FULL: bool>(p: *const f32, n: usize) -> Self {
        if FULL { Self::load(p) } else { Self(_mm256_maskload_ps(p, mask32(n))) }
    }
    #[inline(always)]
    unsafe fn store_to<const FULL: bool>(self, p: *mut f32, n: usize) {
        if FULL { self.store(p) } else { _mm256_maskstore_ps(p, mask32(n), self.0) }
    }
    #[inline(always)]
    unsafe fn stream_to(self, p: *mut f32) {
        _mm256_stream_ps(p, self.0);
    }
}
