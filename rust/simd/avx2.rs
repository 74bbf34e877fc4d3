//! AVX2 with FMA and F16C: 8 lanes of f32, 4 of f64. Odd ends go through a small buffer.

use super::{Isa, Lanes, Task, Vector};
use half::{bf16, f16};
use std::arch::x86_64::*;

pub struct Avx2;

impl Isa for Avx2 {
    type F32 = F32x8;
    type F64 = F64x4;
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline(never)]
pub unsafe fn run<K: Task>(task: K) -> K::Output {
    task.run::<Avx2>()
}

#[derive(Clone, Copy)]
pub struct F32x8(__m256);
#[derive(Clone, Copy)]
pub struct F64x4(__m256d);

/// All bits set in the first `n` lanes.
#[inline(always)]
unsafe fn mask32(n: usize) -> __m256i {
    let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), lane)
}
#[inline(always)]
unsafe fn mask64(n: usize) -> __m256i {
    _mm256_cmpgt_epi64(_mm256_set1_epi64x(n as i64), _mm256_setr_epi64x(0, 1, 2, 3))
}

/// The first `n` of `N` elements; the others are zero.
#[inline(always)]
unsafe fn copy_in<T: Copy, const N: usize>(p: *const T, n: usize, zero: T) -> [T; N] {
    let mut buffer = [zero; N];
    for (i, place) in buffer.iter_mut().enumerate().take(n) {
        *place = *p.add(i);
    }
    buffer
}

impl Vector for F32x8 {
    type Scalar = f32;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self(_mm256_set1_ps(x))
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        Self(_mm256_loadu_ps(p))
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        _mm256_storeu_ps(p, self.0);
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(_mm256_add_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(_mm256_sub_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(_mm256_mul_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(_mm256_div_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        Self(_mm256_fmadd_ps(self.0, b.0, c.0))
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(_mm256_max_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn scale_by_power_of_two(self, rounded: Self) -> Self {
        let biased = _mm256_add_epi32(_mm256_castps_si256(rounded.0), _mm256_set1_epi32(127));
        let power = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased));
        Self(_mm256_mul_ps(self.0, power))
    }
    #[inline(always)]
    unsafe fn zero_where_less(self, x: Self, low: Self) -> Self {
        Self(_mm256_and_ps(self.0, _mm256_cmp_ps::<_CMP_NLT_UQ>(x.0, low.0)))
    }
    #[inline(always)]
    unsafe fn zero_where_nan(self) -> Self {
        Self(_mm256_and_ps(self.0, _mm256_cmp_ps::<_CMP_ORD_Q>(self.0, self.0)))
    }
    #[inline(always)]
    unsafe fn any_greater(self, other: Self) -> bool {
        _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(self.0, other.0)) != 0
    }
    #[inline(always)]
    unsafe fn count_greater(self, other: Self, n: usize) -> usize {
        let greater = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(self.0, other.0));
        (greater as u32 & ((1 << n) - 1)).count_ones() as usize
    }
    #[inline(always)]
    unsafe fn first(self, n: usize) -> Self {
        let outside = _mm256_set1_ps(f32::NEG_INFINITY);
        Self(_mm256_blendv_ps(outside, self.0, _mm256_castsi256_ps(mask32(n))))
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
    unsafe fn deinterleave(self, next: Self) -> (Self, Self) {
        let ordered = |x| _mm256_castpd_ps(_mm256_permute4x64_pd::<0xd8>(_mm256_castps_pd(x)));
        let even = _mm256_shuffle_ps::<0x88>(self.0, next.0);
        let odd = _mm256_shuffle_ps::<0xdd>(self.0, next.0);
        (Self(ordered(even)), Self(ordered(odd)))
    }
    #[inline(always)]
    unsafe fn interleave(self, odd: Self) -> (Self, Self) {
        let low = _mm256_unpacklo_ps(self.0, odd.0);
        let high = _mm256_unpackhi_ps(self.0, odd.0);
        let first = _mm256_permute2f128_ps::<0x20>(low, high);
        (Self(first), Self(_mm256_permute2f128_ps::<0x31>(low, high)))
    }
    #[inline(always)]
    unsafe fn extract(self) -> f32 {
        _mm256_cvtss_f32(self.0)
    }
    #[inline(always)]
    unsafe fn reduce_sum(self) -> f32 {
        let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    }
    #[inline(always)]
    unsafe fn reduce_max(self) -> f32 {
        let four = _mm_max_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
        let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
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

#[inline(always)]
unsafe fn load_16_bits<const FULL: bool>(p: *const u16, n: usize) -> __m128i {
    if FULL {
        _mm_loadu_si128(p.cast())
    } else {
        let buffer: [u16; 8] = copy_in(p, n, 0);
        _mm_loadu_si128(buffer.as_ptr().cast())
    }
}
#[inline(always)]
unsafe fn store_16_bits<const FULL: bool>(p: *mut u16, n: usize, bits: __m128i) {
    if FULL {
        _mm_storeu_si128(p.cast(), bits);
    } else {
        let mut buffer = [0u16; 8];
        _mm_storeu_si128(buffer.as_mut_ptr().cast(), bits);
        for (i, &value) in buffer.iter().enumerate().take(n) {
            *p.add(i) = value;
        }
    }
}

impl Lanes<f16> for F32x8 {
    #[inline(always)]
    unsafe fn load_from<const FULL: bool>(p: *const f16, n: usize) -> Self {
        Self(_mm256_cvtph_ps(load_16_bits::<FULL>(p.cast(), n)))
    }
    #[inline(always)]
    unsafe fn store_to<const FULL: bool>(self, p: *mut f16, n: usize) {
        let bits = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0);
        store_16_bits::<FULL>(p.cast(), n, bits);
    }
}

impl Lanes<bf16> for F32x8 {
    #[inline(always)]
    unsafe fn load_from<const FULL: bool>(p: *const bf16, n: usize) -> Self {
        let wide = _mm256_cvtepu16_epi32(load_16_bits::<FULL>(p.cast(), n));
        Self(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide)))
    }
    /// To nearest, ties to even.
    #[inline(always)]
    unsafe fn store_to<const FULL: bool>(self, p: *mut bf16, n: usize) {
        let bits = _mm256_castps_si256(self.0);
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
        let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0));
        let high = _mm256_srli_epi32::<16>(_mm256_blendv_epi8(rounded, quiet, nan));
        let (a, b) = (_mm256_castsi256_si128(high), _mm256_extracti128_si256::<1>(high));
        store_16_bits::<FULL>(p.cast(), n, _mm_packus_epi32(a, b));
    }
}

impl Vector for F64x4 {
    type Scalar = f64;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f64) -> Self {
        Self(_mm256_set1_pd(x))
    }
    #[inline(always)]
    unsafe fn load(p: *const f64) -> Self {
        Self(_mm256_loadu_pd(p))
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f64) {
        _mm256_storeu_pd(p, self.0);
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(_mm256_add_pd(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(_mm256_sub_pd(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(_mm256_mul_pd(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(_mm256_div_pd(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        Self(_mm256_fmadd_pd(self.0, b.0, c.0))
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(_mm256_max_pd(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn scale_by_power_of_two(self, rounded: Self) -> Self {
        let biased = _mm256_add_epi64(_mm256_castpd_si256(rounded.0), _mm256_set1_epi64x(1023));
        let power = _mm256_castsi256_pd(_mm256_slli_epi64::<52>(biased));
        Self(_mm256_mul_pd(self.0, power))
    }
    #[inline(always)]
    unsafe fn zero_where_less(self, x: Self, low: Self) -> Self {
        Self(_mm256_and_pd(self.0, _mm256_cmp_pd::<_CMP_NLT_UQ>(x.0, low.0)))
    }
    #[inline(always)]
    unsafe fn zero_where_nan(self) -> Self {
        Self(_mm256_and_pd(self.0, _mm256_cmp_pd::<_CMP_ORD_Q>(self.0, self.0)))
    }
    #[inline(always)]
    unsafe fn any_greater(self, other: Self) -> bool {
        _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_GT_OQ>(self.0, other.0)) != 0
    }
    #[inline(always)]
    unsafe fn count_greater(self, other: Self, n: usize) -> usize {
        let greater = _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_GT_OQ>(self.0, other.0));
        (greater as u32 & ((1 << n) - 1)).count_ones() as usize
    }
    #[inline(always)]
    unsafe fn first(self, n: usize) -> Self {
        let outside = _mm256_set1_pd(f64::NEG_INFINITY);
        Self(_mm256_blendv_pd(outside, self.0, _mm256_castsi256_pd(mask64(n))))
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
    #[inline(always)]
    unsafe fn deinterleave(self, next: Self) -> (Self, Self) {
        let ordered = |x| _mm256_permute4x64_pd::<0xd8>(x);
        let even = _mm256_unpacklo_pd(self.0, next.0);
        let odd = _mm256_unpackhi_pd(self.0, next.0);
        (Self(ordered(even)), Self(ordered(odd)))
    }
    #[inline(always)]
    unsafe fn interleave(self, odd: Self) -> (Self, Self) {
        let low = _mm256_unpacklo_pd(self.0, odd.0);
        let high = _mm256_unpackhi_pd(self.0, odd.0);
        let first = _mm256_permute2f128_pd::<0x20>(low, high);
        (Self(first), Self(_mm256_permute2f128_pd::<0x31>(low, high)))
    }
    #[inline(always)]
    unsafe fn extract(self) -> f64 {
        _mm256_cvtsd_f64(self.0)
    }
    #[inline(always)]
    unsafe fn reduce_sum(self) -> f64 {
        let two = _mm_add_pd(_mm256_castpd256_pd128(self.0), _mm256_extractf128_pd::<1>(self.0));
        _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
    }
    #[inline(always)]
    unsafe fn reduce_max(self) -> f64 {
        let two = _mm_max_pd(_mm256_castpd256_pd128(self.0), _mm256_extractf128_pd::<1>(self.0));
        _mm_cvtsd_f64(_mm_max_sd(two, _mm_unpackhi_pd(two, two)))
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
