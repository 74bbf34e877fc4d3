//! Between arrays of any strides and types and dense numbers of the type computed in.
//!
//! No arithmetic on registers is in a closure, which would be compiled without their instruction set.

use super::call::ImageView;
use super::sizes::Pool;
use crate::simd::{Float, Lanes, Packed, Register, Vector};

/// Three nested loops over memory, strides in elements. The dense side has the same order.
#[derive(Clone, Copy)]
pub struct Loops {
    sizes: [usize; 3],
    strides: [isize; 3],
}

impl Loops {
    /// Over (channel, row, column) in this order, or with the channels innermost. Loops that go on where
    /// the one inside ends are joined to it.
    pub fn new(channels_last: bool, mut sizes: [usize; 3], mut strides: [isize; 3]) -> Loops {
        if channels_last {
            sizes.rotate_left(1);
            strides.rotate_left(1);
        }
        for outer in (0..2).rev() {
            let inner = outer + 1;
            if sizes[outer] == 1 || strides[outer] == strides[inner] * sizes[inner] as isize {
                sizes[inner] *= sizes[outer];
                for d in (1..inner).rev() {
                    (sizes[d], strides[d]) = (sizes[d - 1], strides[d - 1]);
                }
                (sizes[0], strides[0]) = (1, 0);
            }
        }
        Loops { sizes, strides }
    }

    /// Over some channels of an image.
    pub fn of_image(pool: &Pool, channels: usize, channels_last: bool, view: &ImageView) -> Loops {
        Loops::new(channels_last, [channels, pool.image[0], pool.image[1]], view.strides)
    }

    /// The offset in the array and in the dense memory of each run of the innermost loop.
    #[inline(always)]
    fn runs(self) -> impl Iterator<Item = (isize, usize)> {
        let ([outer, middle, inner], [far, near, _]) = (self.sizes, self.strides);
        (0..outer * middle).map(move |i| {
            let (a, b) = (i / middle, i % middle);
            (a as isize * far + b as isize * near, i * inner)
        })
    }

    /// # Safety
    /// The loops stay within the array from `from` on, and `dense` has room for all elements.
    #[inline(always)]
    pub unsafe fn load<T: Packed, V: Register<T>>(&self, from: *const T, dense: *mut T::Acc) {
        let (n, step) = (self.sizes[2], self.strides[2]);
        for (offset, at) in self.runs() {
            // SAFETY: the caller's.
            unsafe {
                let (from, dense) = (from.offset(offset), dense.add(at));
                if step == 1 {
                    convert::<T, T::Acc, V>(from, dense, n);
                } else {
                    for i in 0..n {
                        *dense.add(i) = (*from.offset(i as isize * step)).to_acc();
                    }
                }
            }
        }
    }

    /// # Safety
    /// The loops stay within the array from `to` on, and `dense` has all elements.
    #[inline(always)]
    pub unsafe fn store<T: Packed, V: Register<T>>(&self, dense: *const T::Acc, to: *mut T) {
        let (n, step) = (self.sizes[2], self.strides[2]);
        for (offset, at) in self.runs() {
            // SAFETY: the caller's.
            unsafe {
                let (to, dense) = (to.offset(offset), dense.add(at));
                if step == 1 {
                    convert::<T::Acc, T, V>(dense, to, n);
                } else {
                    for i in 0..n {
                        *to.offset(i as isize * step) = T::from_acc(*dense.add(i));
                    }
                }
            }
        }
    }

    /// Add to an array of the type computed in.
    ///
    /// # Safety
    /// As for [`Loops::store`].
    #[inline(always)]
    pub unsafe fn add<A: Float>(&self, dense: *const A, to: *mut A) {
        let (n, step) = (self.sizes[2], self.strides[2]);
        for (offset, at) in self.runs() {
            // SAFETY: the caller's.
            unsafe {
                let (to, dense) = (to.offset(offset), dense.add(at));
                for i in 0..n {
                    let sum = to.offset(i as isize * step);
                    *sum = *sum + *dense.add(i);
                }
            }
        }
    }

    /// # Safety
    /// The loops stay within the array from `to` on.
    #[inline(always)]
    pub unsafe fn clear<T: Packed>(&self, to: *mut T) {
        let zero = T::from_acc(T::Acc::ZERO);
        for (offset, _) in self.runs() {
            for i in 0..self.sizes[2] {
                // SAFETY: the caller's.
                unsafe { *to.offset(offset + i as isize * self.strides[2]) = zero };
            }
        }
    }
}

/// `n` elements that lie side by side, through registers of which the last one need not be full.
///
/// # Safety
/// There are so many elements on both sides.
#[inline(always)]
unsafe fn convert<S, D, V: Lanes<S> + Lanes<D>>(from: *const S, to: *mut D, n: usize) {
    let full = n - n % V::LANES;
    // SAFETY: the caller's.
    unsafe {
        for i in (0..full).step_by(V::LANES) {
            let x = <V as Lanes<S>>::load_from::<true>(from.add(i), V::LANES);
            <V as Lanes<D>>::store_to::<true>(x, to.add(i), V::LANES);
        }
        if full < n {
            let rest = <V as Lanes<S>>::load_from::<false>(from.add(full), n - full);
            <V as Lanes<D>>::store_to::<false>(rest, to.add(full), n - full);
        }
    }
}

/// Put the `n` even elements of a row into one place, the odd ones into the other. Whole registers are
/// written there.
///
/// # Safety
/// The row has 2·`n` elements, and there is room for whole registers of both halves.
#[inline(always)]
pub unsafe fn load_pairs<T: Packed, V: Register<T>>(
    from: *const T,
    n: usize,
    even: *mut T::Acc,
    odd: *mut T::Acc,
) {
    for at in (0..n).step_by(V::LANES) {
        // SAFETY: the caller's; what is not there is not read.
        unsafe {
            let (from, left) = (from.add(2 * at), 2 * (n - at));
            let a = load_some::<T, V>(from, left);
            let b = load_some::<T, V>(from.wrapping_add(V::LANES), left.saturating_sub(V::LANES));
            let (a, b) = a.deinterleave(b);
            a.store(even.add(at));
            b.store(odd.add(at));
        }
    }
}

/// The way back of [`load_pairs`]; nothing but the row's 2·`n` elements is written.
///
/// # Safety
/// The row has 2·`n` elements, and whole registers of both halves can be read.
#[inline(always)]
pub unsafe fn store_pairs<T: Packed, V: Register<T>>(
    even: *const T::Acc,
    odd: *const T::Acc,
    n: usize,
    to: *mut T,
) {
    for at in (0..n).step_by(V::LANES) {
        // SAFETY: the caller's; what is not there is not written.
        unsafe {
            let (to, left) = (to.add(2 * at), 2 * (n - at));
            let (a, b) = V::load(even.add(at)).interleave(V::load(odd.add(at)));
            store_some::<T, V>(a, to, left);
            store_some::<T, V>(b, to.wrapping_add(V::LANES), left.saturating_sub(V::LANES));
        }
    }
}

/// A register, or the `n` elements that there are.
///
/// # Safety
/// There are so many.
#[inline(always)]
unsafe fn load_some<T: Packed, V: Register<T>>(from: *const T, n: usize) -> V {
    // SAFETY: the caller's.
    unsafe {
        match n >= V::LANES {
            true => <V as Lanes<T>>::load_from::<true>(from, n),
            false => <V as Lanes<T>>::load_from::<false>(from, n),
        }
    }
}

/// A register, or the `n` elements that there are.
///
/// # Safety
/// There are so many.
#[inline(always)]
unsafe fn store_some<T: Packed, V: Register<T>>(x: V, to: *mut T, n: usize) {
    // SAFETY: the caller's.
    unsafe {
        if n >= V::LANES {
            <V as Lanes<T>>::store_to::<true>(x, to, n)
        } else if n > 0 {
            <V as Lanes<T>>::store_to::<false>(x, to, n)
        }
    }
}

/// The sum of `n` dense numbers, in an order that depends on `n` alone.
///
/// # Safety
/// There are so many.
#[inline(always)]
pub unsafe fn sum<V: Lanes<<V as Vector>::Scalar>>(dense: *const V::Scalar, n: usize) -> V::Scalar {
    let full = n - n % V::LANES;
    // SAFETY: the caller's.
    unsafe {
        let mut total = V::load_from::<false>(dense.add(full), n - full);
        for i in (0..full).step_by(V::LANES) {
            total = total.add(V::load(dense.add(i)));
        }
        total.reduce_sum()
    }
}

/// The sum of `n` numbers that are `step` apart, in two parts that keep the error of long sums small.
///
/// # Safety
/// There are so many.
pub unsafe fn strided_sum<A: Float>(dense: *const A, n: usize, step: usize) -> A {
    // SAFETY: the caller's.
    unsafe {
        if n > 16 {
            let half = n / 2;
            let first = strided_sum(dense, half, step);
            return first + strided_sum(dense.add(half * step), n - half, step);
        }
        (0..n).fold(A::ZERO, |sum, i| sum + *dense.add(i * step))
    }
}
