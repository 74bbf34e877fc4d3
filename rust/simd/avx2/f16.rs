//! 16-bit floats, converted to f32 and back.

use super::*;
use ::half::{bf16, f16};

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

#[inline(always)]
unsafe fn to_f16(x: __m256) -> __m128i {
    _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x)
}

/// To nearest, ties to even.
#[inline(always)]
unsafe fn to_bf16(x: __m256) -> __m128i {
    let bits = _mm256_castps_si256(x);
    let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
    let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
    let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(x, x));
    let high = _mm256_srli_epi32::<16>(_mm256_blendv_epi8(rounded, quiet, nan));
    _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256::<1>(high))
}

impl Lanes<f16> for F32x8 {
    #[inline(always)]
    unsafe fn load_from<const FULL: bool>(p: *const f16, n: usize) -> Self {
        Self(_mm256_cvtph_ps(load_16_bits::<FULL>(p.cast(), n)))
    }
    #[inline(always)]
    unsafe fn store_to<const FULL: bool>(self, p: *mut f16, n: usize) {
        store_16_bits::<FULL>(p.cast(), n, to_f16(self.0));
    }
    #[inline(always)]
    unsafe fn stream_to(self, p: *mut f16) {
        _mm_stream_si128(p.cast(), to_f16(self.0));
    }
}

impl Lanes<bf16> for F32x8 {
    #[inline(always)]
    unsafe fn load_from<const FULL: bool>(p: *const bf16, n: usize) -> Self {
        let wide = _mm256_cvtepu16_epi32(load_16_bits::<FULL>(p.cast(), n));
        Self(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide)))
    }
    #[inline(always)]
    unsafe fn store_to<const FULL: bool>(self, p: *mut bf16, n: usize) {
        store_16_bits::<FULL>(p.cast(), n, to_bf16(self.0));
    }
    #[inline(always)]
    unsafe fn stream_to(self, p: *mut bf16) {
        _mm_stream_si128(p.cast(), to_bf16(self.0));
    }
}
