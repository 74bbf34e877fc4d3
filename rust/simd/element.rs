//! The types of array elements, and the types that they are computed in.

use half::{bf16, f16};
use std::ops::{Add, Div, Mul, Sub};

/// A type of the arrays, and the type it is computed in.
pub trait Element: Copy + Send + Sync + 'static {
    type Acc: Float;
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
    /// The lowest finite number.
    const LOWEST: Self;
    /// 2ˣ is zero below: the exponent of the smallest normal number.
    const EXP2_LOW: Self;
    const LOG2_E: Self;
    /// 1.5·2^(mantissa bits): adding it rounds to an integer, which is then in the low bits.
    const ROUNDING: Self;
    /// Coefficients of c in 2ʳ = 1 + r·c(r), highest power first.
    const EXP2_COEFFICIENTS: &'static [Self];

    fn from_f64(x: f64) -> Self;
    fn to_f64(self) -> f64;
    fn exp(self) -> Self;
    fn exp2(self) -> Self;
    /// `self · b + c`, in one rounding where the target has an instruction for it.
    fn fused_mul_add(self, b: Self, c: Self) -> Self;
    /// 2ⁿ of n + ROUNDING.
    fn power_of_two(self) -> Self;
}

macro_rules! float {
    ($type:ty, $exponent_shift:literal, $bias:literal,
     low: $low:literal, rounding: $rounding:literal, coefficients: $coefficients:expr) => {
        impl Element for $type {
            type Acc = $type;
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
            const LOWEST: Self = <$type>::MIN;
            const EXP2_LOW: Self = $low;
            const LOG2_E: Self = std::f64::consts::LOG2_E as $type;
            const ROUNDING: Self = $rounding;
            const EXP2_COEFFICIENTS: &'static [Self] = &$coefficients;

            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $type
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self.into()
            }
            #[inline(always)]
            fn exp(self) -> Self {
                self.exp()
            }
            #[inline(always)]
            fn exp2(self) -> Self {
                self.exp2()
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

float!(f32, 23, 127,
low: -126.0,
rounding: 12_582_912.0,
coefficients: [
    1.545_317_3e-4,
    1.339_087_5e-3,
    9.618_082e-3,
    5.550_357e-2,
    2.402_265e-1,
    6.931_472e-1,
]);

float!(f64, 52, 1023,
low: -1022.0,
rounding: 6_755_399_441_055_744.0,
coefficients: [
    4.454_962_484_633_212e-10,
    7.072_589_488_396_345e-9,
    1.017_806_243_641_276_5e-7,
    1.321_544_257_022_465e-6,
    1.525_273_382_985_159_6e-5,
    1.540_353_044_176_508_7e-4,
    1.333_355_814_641_692_6e-3,
    9.618_129_107_606_871e-3,
    5.550_410_866_482_159_4e-2,
    2.402_265_069_591_01e-1,
    6.931_471_805_599_453e-1,
]);

macro_rules! half_float {
    ($type:ty) => {
        impl Element for $type {
            type Acc = f32;
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
