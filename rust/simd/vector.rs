//! Registers of floats: what every instruction set has of them, and 2ˣ.
//!
//! Nothing outside [`crate::simd`] can name a register type. Generic code is given one by
//! [`Simd::dispatch`](super::Simd::dispatch), as a type parameter and only where the processor has the
//! instruction set: the type is the proof, and so arithmetic is safe. What takes a pointer is not.

use super::element::{Element, Float};
use half::{bf16, f16};

/// A register of `LANES` numbers of a type that is computed in.
pub trait Vector: Copy {
    type Scalar: Float;
    const LANES: usize;

    fn splat(x: Self::Scalar) -> Self;
    /// # Safety
    /// `LANES` numbers can be read from `p` on.
    unsafe fn load(p: *const Self::Scalar) -> Self;
    /// # Safety
    /// `LANES` numbers can be written from `p` on.
    unsafe fn store(self, p: *mut Self::Scalar);
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    /// `self · b + c`
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// `self > other ? self : other`, so that `other` comes back where either is NaN.
    fn max(self, other: Self) -> Self;
    /// `self · 2ⁿ`, where `rounded` is n + 1.5·2^(mantissa bits).
    fn scale_by_power_of_two(self, rounded: Self) -> Self;
    /// Zero in the lanes where `x < low`.
    fn zero_where_less(self, x: Self, low: Self) -> Self;
    fn zero_where_nan(self) -> Self;
    /// Whether a lane is greater than `other`'s.
    fn any_greater(self, other: Self) -> bool;
    /// How many of the first `n` lanes are greater than `other`'s.
    fn count_greater(self, other: Self, n: usize) -> usize;
    /// −∞ in the lanes from `n` on.
    fn first(self, n: usize) -> Self;
    /// −∞ in the lanes whose mask byte is zero.
    ///
    /// # Safety
    /// `n` bytes can be read from `mask` on.
    unsafe fn keep(self, mask: *const u8, n: usize) -> Self;
    /// The even and the odd ones of two registers' lanes, one register behind the other.
    fn deinterleave(self, next: Self) -> (Self, Self);
    /// Two registers of which `self` has the even and `odd` the odd lanes.
    fn interleave(self, odd: Self) -> (Self, Self);
    /// For each lane the one of `self` that its byte of `lanes` names.
    ///
    /// # Safety
    /// `LANES` bytes can be read from `lanes` on, each below `LANES`.
    unsafe fn permute(self, lanes: *const u8) -> Self;
    fn reduce_sum(self) -> Self::Scalar;
    fn reduce_max(self) -> Self::Scalar;
    /// 2ˣ for x ≤ 100, see [`exp2`].
    #[inline(always)]
    fn exp2(self) -> Self {
        exp2(self)
    }
}

/// Loads and stores of elements of type `T`, converted in registers.
///
/// `FULL` says that all lanes are wanted; otherwise the first `n`, the others being zero.
pub trait Lanes<T>: Vector {
    /// # Safety
    /// As many elements as are wanted can be read from `p` on.
    unsafe fn load_from<const FULL: bool>(p: *const T, n: usize) -> Self;
    /// # Safety
    /// As many elements as are wanted can be written from `p` on.
    unsafe fn store_to<const FULL: bool>(self, p: *mut T, n: usize);
    /// A full store past the caches.
    ///
    /// # Safety
    /// `LANES` elements can be written from `p` on, a multiple of the register's size.
    #[inline(always)]
    unsafe fn stream_to(self, p: *mut T) {
        // SAFETY: the caller's.
        unsafe { self.store_to::<true>(p, Self::LANES) }
    }
}

/// An instruction set: its registers of f32 and of f64.
pub trait Isa {
    /// Whether registers are so wide that a short row would leave most of one unused.
    const WIDE: bool = true;
    type F32: Vector<Scalar = f32> + Lanes<f32> + Lanes<f16> + Lanes<bf16>;
    type F64: Vector<Scalar = f64> + Lanes<f64>;
}

/// Registers that hold the elements of `T` and what these are computed in.
pub trait Register<T: Element>: Vector<Scalar = T::Acc> + Lanes<T> + Lanes<T::Acc> {}
impl<T: Element, V: Vector<Scalar = T::Acc> + Lanes<T> + Lanes<T::Acc>> Register<T> for V {}

/// An element type of which every instruction set has registers.
pub trait Packed: Element {
    type Vector<I: Isa>: Register<Self>;
}

macro_rules! packed {
    ($($type:ty: $register:ident),*) => {
        $(impl Packed for $type {
            type Vector<I: Isa> = I::$register;
        })*
    };
}

packed!(f16: F32, bf16: F32, f32: F32, f64: F64);

/// Work that is compiled for every instruction set. `run` must be `#[inline(always)]`, down to the
/// last generic function that it calls: only then is it compiled with the instruction set's features.
pub trait Task {
    type Output;
    /// # Safety
    /// The memory that the task names is valid for what it reads and writes.
    unsafe fn run<I: Isa>(self) -> Self::Output;
}

/// 2ˣ for x ≤ 100, within 1 unit in the last place where multiplication and addition are fused and
/// within 2 where they are not; zero below [`Float::EXP2_LOW`] (so that nothing
/// subnormal slows the processor down), NaN for NaN.
///
/// x = n + r with n whole and |r| ≤ ½, which is exact; then 2ⁿ·(1 + r·c(r)), where c interpolates
/// (2ʳ − 1)/r at Chebyshev points. Its relative error is below 5.1·10⁻⁹ (f32, degree 5) and
/// 8.5·10⁻¹⁸ (f64, degree 10). Softmax needs exp only of differences of scores, and the factor log₂ e
/// costs nothing there: it goes into the scale.
#[inline(always)]
pub fn exp2<V: Vector>(x: V) -> V {
    let rounding = V::splat(V::Scalar::ROUNDING);
    let rounded = x.add(rounding);
    let r = x.sub(rounded.sub(rounding));
    let p = exp2_of_fraction(r);
    p.scale_by_power_of_two(rounded).zero_where_less(x, V::splat(V::Scalar::EXP2_LOW))
}

/// 2ʳ for |r| ≤ ½, by the polynomial of [`Float::EXP2_COEFFICIENTS`].
#[inline(always)]
pub fn exp2_of_fraction<V: Vector>(r: V) -> V {
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
    use crate::simd::Simd;

    struct Exp2<'a, A>(&'a mut [A]);

    impl<A: Packed + Float> Task for Exp2<'_, A> {
        type Output = ();
        #[inline(always)]
        unsafe fn run<I: Isa>(self) {
            let lanes = <A::Vector<I> as Vector>::LANES;
            for chunk in self.0.chunks_exact_mut(lanes) {
                // SAFETY: a chunk is as long as a register.
                unsafe { exp2(A::Vector::<I>::load(chunk.as_ptr())).store(chunk.as_mut_ptr()) };
            }
        }
    }

    /// The largest error, in units in the last place of the result.
    fn largest_error<A: Packed + Float + Into<f64>>(simd: Simd, low: f64, epsilon: f64) -> f64 {
        let inputs: Vec<A> =
            (0..1 << 20).map(|i| A::from_f64(low * i as f64 / (1 << 20) as f64)).collect();
        let mut results = inputs.clone();
        // SAFETY: it works on a slice.
        unsafe { simd.dispatch(Exp2(&mut results)) };
        let error = |(&x, y): (&A, A)| {
            let (x, y): (f64, f64) = (x.into(), y.into());
            let exact = x.exp2();
            (y - exact).abs() / (exact.log2().floor().exp2() * epsilon)
        };
        inputs.iter().zip(results).map(error).fold(0.0, f64::max)
    }

    #[test]
    fn exp2_is_within_an_ulp_or_two() {
        for simd in Simd::available() {
            let is_fused =
                simd.is_wide() || cfg!(any(target_feature = "fma", target_arch = "aarch64"));
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
        for simd in Simd::available() {
            let mut x =
                [f32::NEG_INFINITY, -1000.0, -126.1, 0.0, -1.0, f32::NAN, f32::MIN, -0.0].repeat(2);
            // SAFETY: it works on a slice.
            unsafe { simd.dispatch(Exp2(&mut x)) };
            assert_eq!(x[..2], [0.0, 0.0], "{simd:?}");
            assert!(x[2] < f32::MIN_POSITIVE, "{simd:?}");
            assert_eq!(x[3..5], [1.0, 0.5], "{simd:?}");
            assert!(x[5].is_nan(), "{simd:?}");
            assert_eq!(x[6..8], [0.0, 1.0], "{simd:?}");
        }
    }
}
