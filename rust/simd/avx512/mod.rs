//! AVX-512 (F, BW, DQ, VL): 16 lanes of f32, 8 of f64. Masked loads and stores do the odd ends.

// Intrinsics, and nothing else: the contracts are those of the traits.
#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc, clippy::undocumented_unsafe_blocks)]

mod f16;
mod f32;
mod f64;

use super::vector::exp2_of_fraction;
use super::vector::{Isa, Lanes, Task, Vector};
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
