//! AVX2 with FMA and F16C: 8 lanes of f32, 4 of f64. Odd ends go through a small buffer.

// Intrinsics, and nothing else: the contracts are those of the traits.
#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc, clippy::undocumented_unsafe_blocks)]

mod f16;
mod f32;
mod f64;

use super::vector::{Isa, Lanes, Task, Vector};
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
