//! Windows two columns wide and apart: a row's even and odd elements are those of two places.

use crate::simd::{Lanes, Packed, Register};

/// Put the `n` even elements of a row into one place, the odd ones into the other. Whole registers are
/// written there.
///
/// # Safety
/// The row has 2·`n` elements, and there is room for whole registers of both halves.
#[inline(always)]
pub unsafe fn load<T: Packed, V: Register<T>>(
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

/// The way back of [`load`]; nothing but the row's 2·`n` elements is written.
///
/// # Safety
/// The row has 2·`n` elements, and whole registers of both halves can be read.
#[inline(always)]
pub unsafe fn store<T: Packed, V: Register<T>>(
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
