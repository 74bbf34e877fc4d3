//! Registers in plain Rust: small arrays, which compilers turn into what the target always has.

use super::element::{Element, Float};
use super::vector::{self, Isa, Lanes, Vector};

#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Array<T, const N: usize>([T; N]);

/// Four lanes of f32 and two of f64: SSE2 on x86-64, NEON on aarch64.
pub struct Portable;

impl Isa for Portable {
    const WIDE: bool = false;
    type F32 = Array<f32, 4>;
    type F64 = Array<f64, 2>;
}

impl<S: Float, const N: usize> Array<S, N> {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(S, S) -> S) -> Self {
        Array(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl<S: Float, const N: usize> Vector for Array<S, N> {
    type Scalar = S;
    const LANES: usize = N;

    #[inline(always)]
    fn splat(x: S) -> Self {
        Array([x; N])
    }
    #[inline(always)]
    unsafe fn load(p: *const S) -> Self {
        // SAFETY: the caller's.
        unsafe { p.cast::<Self>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut S) {
        // SAFETY: the caller's.
        unsafe { p.cast::<Self>().write_unaligned(self) };
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        Array(std::array::from_fn(|i| self.0[i].fused_mul_add(b.0[i], c.0[i])))
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn scale_by_power_of_two(self, rounded: Self) -> Self {
        self.zip(rounded, |p, rounded| p * rounded.power_of_two())
    }
    #[inline(always)]
    fn zero_where_less(self, x: Self, low: Self) -> Self {
        Array(std::array::from_fn(|i| if x.0[i] < low.0[i] { S::ZERO } else { self.0[i] }))
    }
    #[inline(always)]
    #[allow(clippy::eq_op)] // NaN
    fn zero_where_nan(self) -> Self {
        Array(self.0.map(|x| if x == x { x } else { S::ZERO }))
    }
    #[inline(always)]
    fn any_greater(self, other: Self) -> bool {
        (0..N).any(|i| self.0[i] > other.0[i])
    }
    #[inline(always)]
    fn count_greater(self, other: Self, n: usize) -> usize {
        (0..n).filter(|&i| self.0[i] > other.0[i]).count()
    }
    #[inline(always)]
    fn first(self, n: usize) -> Self {
        Array(std::array::from_fn(|i| if i < n { self.0[i] } else { S::NEG_INFINITY }))
    }
    #[inline(always)]
    unsafe fn keep(self, mask: *const u8, n: usize) -> Self {
        // SAFETY: the caller's.
        let kept = |i: usize| i >= n || unsafe { *mask.add(i) } != 0;
        Array(std::array::from_fn(|i| if kept(i) { self.0[i] } else { S::NEG_INFINITY }))
    }
    #[inline(always)]
    fn deinterleave(self, next: Self) -> (Self, Self) {
        let lane = |i: usize| if i < N { self.0[i] } else { next.0[i - N] };
        (
            Array(std::array::from_fn(|i| lane(2 * i))),
            Array(std::array::from_fn(|i| lane(2 * i + 1))),
        )
    }
    #[inline(always)]
    fn interleave(self, odd: Self) -> (Self, Self) {
        let lane = |i: usize| if i.is_multiple_of(2) { self.0[i / 2] } else { odd.0[i / 2] };
        (Array(std::array::from_fn(lane)), Array(std::array::from_fn(|i| lane(N + i))))
    }
    #[inline(always)]
    unsafe fn permute(self, lanes: *const u8) -> Self {
        // SAFETY: the caller's.
        Array(std::array::from_fn(|i| self.0[unsafe { *lanes.add(i) } as usize]))
    }
    #[inline(always)]
    fn reduce_sum(self) -> S {
        self.0.into_iter().fold(S::ZERO, |a, b| a + b)
    }
    #[inline(always)]
    fn reduce_max(self) -> S {
        self.0.into_iter().fold(S::NEG_INFINITY, |a, b| if b > a { b } else { a })
    }
    #[cfg_attr(target_arch = "x86_64", inline(never))] // where it runs on old processors only
    fn exp2(self) -> Self {
        vector::exp2(self)
    }
}

impl<T: Element, const N: usize> Lanes<T> for Array<T::Acc, N> {
    #[inline(always)]
    unsafe fn load_from<const FULL: bool>(p: *const T, n: usize) -> Self {
        if !FULL || size_of::<T>() == 2 {
            // SAFETY: the caller's.
            return unsafe { convert(p, if FULL { N } else { n }) };
        }
        // SAFETY: the caller's.
        Array(std::array::from_fn(|i| unsafe { *p.add(i) }.to_acc()))
    }
    #[inline(always)]
    unsafe fn store_to<const FULL: bool>(self, p: *mut T, n: usize) {
        if !FULL || size_of::<T>() == 2 {
            // SAFETY: the caller's.
            return unsafe { convert_back(&self, p, if FULL { N } else { n }) };
        }
        for (i, &x) in self.0.iter().enumerate() {
            // SAFETY: the caller's.
            unsafe { *p.add(i) = T::from_acc(x) };
        }
    }
}

// Long and inlined nowhere, lest most of the module be copies of them: conversions from 16 bits and back, and
// parts of a register.

/// # Safety
/// `n` elements can be read from `p` on.
#[inline(never)]
unsafe fn convert<T: Element, const N: usize>(p: *const T, n: usize) -> Array<T::Acc, N> {
    // SAFETY: the caller's.
    let lane = |i: usize| if i < n { unsafe { *p.add(i) }.to_acc() } else { T::Acc::ZERO };
    Array(std::array::from_fn(lane))
}

/// # Safety
/// `n` elements can be written from `p` on.
#[inline(never)]
unsafe fn convert_back<T: Element, const N: usize>(x: &Array<T::Acc, N>, p: *mut T, n: usize) {
    for (i, &x) in x.0.iter().enumerate().take(n) {
        // SAFETY: the caller's.
        unsafe { *p.add(i) = T::from_acc(x) };
    }
}
