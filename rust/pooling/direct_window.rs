//! Windows where they lie: a register of channels, each of them an output.

use super::window::Window;
use crate::simd::{Lanes, Packed, Register};

/// Some channels of one window: a register, or the `n` that there are.
pub struct DirectWindow<'a, T: Packed, V, const FULL: bool, const PER_PLACE: bool> {
    /// The first channel at the first place, and that of the gradient, or null.
    pub x: *const T,
    pub dx: *mut T,
    pub w: V,
    /// Of the first place, and how far apart places are; so below.
    pub all_w: *const T::Acc,
    pub apart: usize,
    pub dw: *mut T::Acc,
    pub dw_apart: usize,
    /// Of each place in x and in dx.
    pub offsets: &'a [(isize, isize)],
    pub e: *mut T::Acc,
    pub n: usize,
}

impl<T: Packed, V: Register<T>, const FULL: bool, const PER_PLACE: bool> Window<V>
    for DirectWindow<'_, T, V, FULL, PER_PLACE>
{
    const PER_PLACE: bool = PER_PLACE;

    #[inline(always)]
    fn places(&self) -> usize {
        self.offsets.len()
    }
    #[inline(always)]
    unsafe fn x(&self, p: usize) -> V {
        // SAFETY: `p` is a place, where all windows have their channels.
        unsafe {
            let x = self.x.offset(self.offsets.get_unchecked(p).0);
            <V as Lanes<T>>::load_from::<FULL>(x, self.n)
        }
    }
    #[inline(always)]
    unsafe fn w(&self, p: usize) -> V {
        if !PER_PLACE {
            return self.w;
        }
        // SAFETY: every place has all channels.
        unsafe { <V as Lanes<T::Acc>>::load_from::<FULL>(self.all_w.add(p * self.apart), self.n) }
    }
    #[inline(always)]
    fn memory(&self) -> *mut T::Acc {
        self.e
    }
    #[inline(always)]
    unsafe fn put_dx(&self, p: usize, dx: V) {
        if !self.dx.is_null() {
            // SAFETY: as for `x`.
            unsafe {
                let to = self.dx.offset(self.offsets.get_unchecked(p).1);
                <V as Lanes<T>>::store_to::<FULL>(dx, to, self.n);
            }
        }
    }
    #[inline(always)]
    unsafe fn put_dw(&self, p: usize, dw: V) {
        // SAFETY: every place has whole registers.
        unsafe {
            let sum = self.dw.add(p * self.dw_apart);
            V::load(sum).add(dw).store(sum);
        }
    }
}
