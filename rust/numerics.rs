//! The element types, and exp on a register.

use crate::simd::{Isa, Lanes, Vector};
use half::{bf16, f16};
use std::ops::{Add, Div, Mul, Sub};

/// A type of the arrays, and the type it is computed in.
pub trait Element: Copy + Send + Sync + 'static {
    type Acc: Float;
    type Vector<I: Isa>: Lanes<Self> + Lanes<Self::Acc> + Vector<Scalar = Self::Acc>;
    fn to_acc(self) -> Self::Acc;
    fn from_acc(x: Self::Acc) -> Self;
}

/// A type that is computed in: f32 or f64.
pub trait Float:
    Element<Acc = Self>
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
{
    const ZERO: Self;
    const ONE: Self;
    const NEG_INFINITY: Self;
    /// exp flushes to zero below: the logarithm of the smallest normal number, rounded up.
    const EXP_LOW: Self;
    const LOG2_E: Self;
    /// 1.5·2^(mantissa bits): adding it rounds to an integer, which is then in the low bits.
    const ROUNDING: Self;
    /// ln 2 = high + low, where n·high is exact for every n that exp meets.
    const LN_2: (Self, Self);
    /// Coefficients of c in eʳ = 1 + r + r²·c(r), highest power first.
    const EXP_COEFFICIENTS: &'static [Self];

    fn from_f64(x: f64) -> Self;
    fn exp(self) -> Self;
    /// `self · b + c`, in one rounding where the target has an instruction for it.
    fn fused_mul_add(self, b: Self, c: Self) -> Self;
    /// 2ⁿ of n + ROUNDING.
    fn power_of_two(self) -> Self;
}

macro_rules! float {
    ($type:ty, $bits:ty, $register:ident, $exponent_shift:literal, $bias:literal,
     low: $low:literal, rounding: $rounding:expr, ln_2: $ln_2:expr, coefficients: $coefficients:expr) => {
        impl Element for $type {
            type Acc = $type;
            type Vector<I: Isa> = I::$register;
            #[inline(always)]
            fn to_acc(self) -> $type {
                self
            }
            #[inline(always)]
            fn from_acc(x: $type) -> $type {
                x
            }
        }

        impl Float for $type {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NEG_INFINITY: Self = <$type>::NEG_INFINITY;
            const EXP_LOW: Self = $low;
            const LOG2_E: Self = std::f64::consts::LOG2_E as $type;
            const ROUNDING: Self = $rounding;
            const LN_2: (Self, Self) = $ln_2;
            const EXP_COEFFICIENTS: &'static [Self] = &$coefficients;

            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $type
            }
            #[inline(always)]
            fn exp(self) -> Self {
                self.exp()
            }
            #[inline(always)]
            fn fused_mul_add(self, b: Self, c: Self) -> Self {
                // Without the instruction, mul_add is a slow call into the C library.
                if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
                    self.mul_add(b, c)
                } else {
                    self * b + c
                }
            }
            #[inline(always)]
            fn power_of_two(self) -> Self {
                <$type>::from_bits((self.to_bits().wrapping_add($bias)) << $exponent_shift)
            }
        }
    };
}

float!(f32, u32, F32, 23, 127,
    low: -87.336_54,
    rounding: 12_582_912.0,
    ln_2: (0.693_359_375, -2.121_944_4e-4),
    coefficients: [1.392_618_4e-3, 8.363_179e-3, 4.166_655_5e-2, 1.666_657_7e-1, 0.5]);

float!(f64, u64, F64, 52, 1023,
    low: -708.396_418_532_264,
    rounding: 6_755_399_441_055_744.0,
    ln_2: (0.693_147_180_485_539_1, 7.440_617_110_012_397e-11),
    coefficients: [
        2.510_038_549_551_032e-8,
        2.762_008_844_540_974_8e-7,
        2.755_726_845_999_706_5e-6,
        2.480_152_129_595_437_5e-5,
        1.984_126_986_305_361_7e-4,
        1.388_888_891_721_371_7e-3,
        8.333_333_333_330_062e-3,
        4.166_666_666_662_413e-2,
        1.666_666_666_666_666_7e-1,
        0.500_000_000_000_000_1,
    ]);

macro_rules! half_float {
    ($type:ty) => {
        impl Element for $type {
            type Acc = f32;
            type Vector<I: Isa> = I::F32;
            #[inline(always)]
            fn to_acc(self) -> f32 {
                self.to_f32()
            }
            #[inline(always)]
            fn from_acc(x: f32) -> Self {
                <$type>::from_f32(x)
            }
        }
    };
}

half_float!(f16);
half_float!(bf16);

/// eˣ for x ≤ 0, within 1 unit in the last place; zero below [`Float::EXP_LOW`] (so that nothing
/// subnormal slows the processor down), NaN for NaN.
///
/// x = n·ln 2 + r with |r| ≤ ½ ln 2 (Cody and Waite's two-part constant), then 2ⁿ·(1 + r + r²·c(r))
/// where c interpolates (eʳ − 1 − r)/r² at Chebyshev points; its relative error is below 1.1·10⁻⁸
/// (f32, degree 4) and 1.7·10⁻¹⁷ (f64, degree 9).
///
/// # Safety
/// As for [`Vector`].
#[inline(always)]
pub unsafe fn exp<V: Vector>(x: V) -> V {
    let rounding = V::splat(V::Scalar::ROUNDING);
    let rounded = x.mul_add(V::splat(V::Scalar::LOG2_E), rounding);
    let n = rounded.sub(rounding);
    let (high, low) = V::Scalar::LN_2;
    let r = n.mul_add(V::splat(V::Scalar::ZERO - high), x);
    let r = n.mul_add(V::splat(V::Scalar::ZERO - low), r);
    let coefficients = V::Scalar::EXP_COEFFICIENTS;
    let mut c = V::splat(coefficients[0]);
    for &next in &coefficients[1..] {
        c = c.mul_add(r, V::splat(next));
    }
    let p = r.mul(r).mul_add(c, r).add(V::splat(V::Scalar::ONE));
    p.scale_by_power_of_two(rounded).zero_where_less(x, V::splat(V::Scalar::EXP_LOW))
}
