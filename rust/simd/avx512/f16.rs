//! 16-bit floats, converted to f32 and back.

use super::*;
use ::half::{bf16, f16};

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

#[inline(always)]
unsafe fn to_f16(x: __m512) -> __m256i {
    _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x)
}

/// To nearest, ties to even. (AVX512-BF16's own instruction flushes subnormals, so it is not used.)
#[inline(always)]
unsafe fn to_bf16(x: __m512) -> __m256i {
    let bits = _mm512_castps_si512(x);
    let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
    let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x0040_0000));
    let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
    let high = _mm512_srli_epi32::<16>(_mm512_mask_blend_epi32(nan, rounded, quiet));
    _mm512_cvtepi32_epi16(high)
}

impl Lanes<f16> for F32x16 {
    #[inline(always)]
    unsafe fn load_from<const FULL: bool>(p: *const f16, n: usize) -> Self {
        Self(_mm512_cvtph_ps(load_16_bits::<FULL>(p.cast(), n)))
    }
    #[inline(always)]
    unsafe fn store_to<const FULL: bool>(self, p: *mut f16, n: usize) {
        store_16_bits::<FULL>(p.cast(), n, to_f16(self.0));
    }
    #[inline(always)]
    unsafe fn stream_to(self, p: *mut f16) {
        _mm256_stream_si256(p.cast(), to_f16(self.0));
    }
}

impl Lanes<bf16> for F32x16 {
    #[inline(always)]
    unsafe fn load_from<const FULL: bool>(p: *const bf16, n: usize) -> Self {
        let wide = _mm512_cvtepu16_epi32(load_16_bits::<FULL>(p.cast(), n));
        Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide)))
    }
    #[inline(always)]
    unsafe fn store_to<const FULL: bool>(self, p: *mut bf16, n: usize) {
        store_16_bits::<FULL>(p.cast(), n, to_bf16(self.0));
    }
    #[inline(always)]
    unsafe fn stream_to(self, p: *mut bf16) {
        _mm256_stream_si256(p.cast(), to_bf16(self.0));
    }
}
