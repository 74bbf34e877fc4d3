//! The element types, and 2ˣ on a register.

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
    fn exp(self) -> Self;
    fn exp2(self) -> Self;
    /// `self · b + c`, in one rounding where the target has an instruction for it.
    fn fused_mul_add(self, b: Self, c: Self) -> Self;
    /// 2ⁿ of n + ROUNDING.
    fn power_of_two(self) -> Self;
}

macro_rules! float {
    ($type:ty, $bits:ty, $register:ident, $exponent_shift:literal, $bias:literal,
     low: $low:literal, rounding: $rounding:literal, coefficients: $coefficients:expr) => {
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

float!(f32, u32, F32, 23, 127,
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

float!(f64, u64, F64, 52, 1023,
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

/// 2ˣ for x ≤ 100, within 1 unit in the last place where multiplication and addition are fused and
/// within 2 where they are not; zero below [`Float::EXP2_LOW`] (so that nothing
/// subnormal slows the processor down), NaN for NaN.
///
/// x = n + r with n whole and |r| ≤ ½, which is exact; then 2ⁿ·(1 + r·c(r)), where c interpolates
/// (2ʳ − 1)/r at Chebyshev points. Its relative error is below 5.1·10⁻⁹ (f32, degree 5) and
/// 8.5·10⁻¹⁸ (f64, degree 10). Softmax needs exp only of differences of scores, and the factor log₂ e
/// costs nothing there: it goes into the scale.
///
/// # Safety
/// As for [`Vector`].
#[inline(always)]
pub unsafe fn exp2<V: Vector>(x: V) -> V {
    let rounding = V::splat(V::Scalar::ROUNDING);
    let rounded = x.add(rounding);
    let r = x.sub(rounded.sub(rounding));
    let p = exp2_of_fraction(r);
    p.scale_by_power_of_two(rounded).zero_where_less(x, V::splat(V::Scalar::EXP2_LOW))
}

/// 2ʳ for |r| ≤ ½.
///
/// # Safety
/// As for [`Vector`].
#[inline(always)]
pub unsafe fn exp2_of_fraction<V: Vector>(r: V) -> V {
    let coefficients = V::Scalar::EXP2_COEFFICIENTS;
    let mut c = V::splat(coefficients[0]);
    for &next in &coefficients[1..] {
        c = c.mul_add(r, V::splat(next));
    }
    c.mul_add(r, V::splat(V::Scalar::ONE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Simd, Task};

    struct Exp2<'a, A>(&'a mut [A]);

    impl<A: Float> Task for Exp2<'_, A> {
        type Output = ();
        #[inline(always)]
        unsafe fn run<I: Isa>(self) {
            let lanes = <A::Vector<I> as Vector>::LANES;
            for chunk in self.0.chunks_exact_mut(lanes) {
                exp2(A::Vector::<I>::load(chunk.as_ptr())).store(chunk.as_mut_ptr());
            }
        }
    }

    /// The largest error, in units in the last place of the result.
    fn largest_error<A: Float + Into<f64>>(simd: Simd, low: f64, epsilon: f64) -> f64 {
        let inputs: Vec<A> =
            (0..1 << 20).map(|i| A::from_f64(low * i as f64 / (1 << 20) as f64)).collect();
        let mut results = inputs.clone();
        simd.dispatch(Exp2(&mut results));
        let error = |(&x, y): (&A, A)| {
            let (x, y): (f64, f64) = (x.into(), y.into());
            let exact = x.exp2();
            (y - exact).abs() / (exact.log2().floor().exp2() * epsilon)
        };
        inputs.iter().zip(results).map(error).fold(0.0, f64::max)
    }

    #[test]
    fn exp2_is_within_an_ulp_or_two() {
        for simd in Simd::ALL.into_iter().filter(|simd| simd.is_available()) {
            let is_fused = !matches!(simd, Simd::Portable | Simd::Scalar)
                || cfg!(any(target_feature = "fma", target_arch = "aarch64"));
            let bound = if is_fused { 1.0 } else { 2.0 };
            let error = largest_error::<f32>(simd, -125.9, f32::EPSILON.into());
            assert!(error <= bound, "{simd:?}: {error} ulp in f32");
            // f64::exp2 is itself within 1 ulp.
            let error = largest_error::<f64>(simd, -1021.9, f64::EPSILON);
            assert!(error <= bound + 1.0, "{simd:?}: {error} ulp in f64");
        }
    }

    #[test]
    fn exp2_of_special_values() {
        for simd in Simd::ALL.into_iter().filter(|simd| simd.is_available()) {
            let mut x =
                [f32::NEG_INFINITY, -1000.0, -126.1, 0.0, -1.0, f32::NAN, f32::MIN, -0.0].repeat(2);
            simd.dispatch(Exp2(&mut x));
            assert_eq!(x[..2], [0.0, 0.0], "{simd:?}");
            assert!(x[2] < f32::MIN_POSITIVE, "{simd:?}");
            assert_eq!(x[3..5], [1.0, 0.5], "{simd:?}");
            assert!(x[5].is_nan(), "{simd:?}");
            assert_eq!(x[6..8], [0.0, 1.0], "{simd:?}");
        }
    }
}
