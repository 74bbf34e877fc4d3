//! Shifts and inverses of slices, between registers and where the backward finds them.

use crate::simd::{Float, Lanes, Vector};

/// Where the shifts and inverses of slices lie: the first's, and the distance in bytes to the next. Null
/// where nobody wants them.
#[derive(Clone, Copy)]
pub struct Saved {
    pub data: *mut u8,
    pub step: isize,
    /// To those of the next plane.
    pub plane: isize,
}

impl Saved {
    #[inline(always)]
    pub fn advance(&mut self) {
        self.data = self.data.wrapping_offset(self.plane);
    }

    /// Those from slice `slice` on.
    #[inline(always)]
    pub fn from(&self, slice: usize) -> Saved {
        Saved { data: self.data.wrapping_offset(slice as isize * self.step), ..*self }
    }

    #[inline(always)]
    fn is_dense<A>(&self) -> bool {
        self.step == size_of::<A>() as isize
    }

    #[inline(always)]
    pub fn at<A>(&self, slice: usize) -> *mut A {
        self.data.wrapping_offset(slice as isize * self.step).cast()
    }

    /// # Safety
    /// There are places for these slices.
    #[inline(always)]
    pub unsafe fn set<A>(&self, slice: usize, x: A) {
        // SAFETY: the caller's.
        unsafe {
            if !self.data.is_null() {
                *self.at(slice) = x;
            }
        }
    }
}

/// The widest register's lanes in memory.
type InMemory<A> = [A; crate::simd::MAX_LANES];

/// Each lane changed by `f`.
#[inline(always)]
pub fn map<V: Vector>(x: V, f: impl Fn(V::Scalar) -> V::Scalar) -> V {
    let mut lanes: InMemory<V::Scalar> = [V::Scalar::ZERO; crate::simd::MAX_LANES];
    // SAFETY: there is room for any register.
    unsafe { x.store(lanes.as_mut_ptr()) };
    for lane in &mut lanes[..V::LANES] {
        *lane = f(*lane);
    }
    // SAFETY: the same.
    unsafe { V::load(lanes.as_ptr()) }
}

/// # Safety
/// There are places for these slices.
#[inline(always)]
pub unsafe fn save<A: Float, V: Vector<Scalar = A> + Lanes<A>>(
    saved: &Saved,
    x: V,
    i: usize,
    n: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        if saved.is_dense::<V::Scalar>() {
            return x.store_to::<false>(saved.at(i), n);
        }
        let mut lanes: InMemory<V::Scalar> = [V::Scalar::ZERO; crate::simd::MAX_LANES];
        x.store(lanes.as_mut_ptr());
        for (lane, &x) in lanes[..n].iter().enumerate() {
            saved.set(i + lane, x);
        }
    }
}

/// # Safety
/// There are places for these slices.
#[inline(always)]
pub unsafe fn restore<A: Float, V: Vector<Scalar = A> + Lanes<A>>(
    saved: &Saved,
    i: usize,
    n: usize,
) -> V {
    // SAFETY: the caller's.
    unsafe {
        if saved.is_dense::<V::Scalar>() {
            return V::load_from::<false>(saved.at(i), n);
        }
        let mut lanes: InMemory<V::Scalar> = [V::Scalar::ZERO; crate::simd::MAX_LANES];
        for (lane, x) in lanes[..n].iter_mut().enumerate() {
            *x = *saved.at(i + lane);
        }
        V::load(lanes.as_ptr())
    }
}
