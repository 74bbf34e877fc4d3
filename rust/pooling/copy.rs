//! Between arrays of any strides and types and dense numbers of the type computed in.
//!
//! No arithmetic on registers is in a closure, which would be compiled without their instruction set.

use crate::simd::sums::{Compensated, CompensatedLanes};
use crate::simd::{Float, Lanes, Packed, Register};
use std::ops::Range;

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

    /// The offset in the array and in the dense memory of each run of the innermost loop.
    #[inline(always)]
    fn runs(self) -> impl Iterator<Item = (isize, usize)> {
        let ([outer, middle, inner], [far, near, _]) = (self.sizes, self.strides);
        offsets(0..outer * middle, middle, [far, near])
            .enumerate()
            .map(move |(i, o)| (o, i * inner))
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

    /// Add to an array of the type computed in, with a compensation if there is memory for what is lost.
    ///
    /// # Safety
    /// The loops stay within the arrays from their starts on, and `dense` has all elements.
    #[inline(always)]
    pub unsafe fn add<A: Float, V: Register<A>>(
        &self,
        dense: *const A,
        sums: *mut A,
        lost: Option<*mut A>,
    ) {
        let (n, step) = (self.sizes[2], self.strides[2]);
        let full = if step == 1 { n - n % V::LANES } else { 0 };
        for (offset, at) in self.runs() {
            // SAFETY: the caller's.
            unsafe {
                let (dense, sums) = (dense.add(at), sums.offset(offset));
                let lost = lost.map(|lost| lost.offset(offset));
                for i in (0..full).step_by(V::LANES) {
                    let (sum, term) = (V::load(sums.add(i)), V::load(dense.add(i)));
                    let Some(lost) = lost else {
                        sum.add(term).store(sums.add(i));
                        continue;
                    };
                    let new = CompensatedLanes { sum, lost: V::load(lost.add(i)) }.add(term);
                    new.sum.store(sums.add(i));
                    new.lost.store(lost.add(i));
                }
                for i in full..n {
                    let (to, term) = (i as isize * step, *dense.add(i));
                    let sum = sums.offset(to);
                    let Some(lost) = lost.map(|lost| lost.offset(to)) else {
                        *sum = *sum + term;
                        continue;
                    };
                    let new = Compensated { sum: *sum, lost: *lost }.add(term);
                    (*sum, *lost) = (new.sum, new.lost);
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

/// The offsets of some elements of an array with rows of `width`. Nothing is divided on the way.
#[inline(always)]
pub fn offsets(
    elements: Range<usize>,
    width: usize,
    [down, right]: [isize; 2],
) -> impl Iterator<Item = isize> {
    let at = [elements.start / width.max(1), elements.start % width.max(1)].map(|i| i as isize);
    let (mut row, mut column) = (at[0] * down, at[1]);
    elements.map(move |_| {
        let offset = row + column * right;
        column += 1;
        if column == width as isize {
            (row, column) = (row + down, 0);
        }
        offset
    })
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
