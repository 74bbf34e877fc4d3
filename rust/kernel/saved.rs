//! Shifts and inverses of slices, between registers and where the backward finds them.

use crate::numerics::Float;
use crate::simd::Vector;

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

    #[inline(always)]
    pub unsafe fn at<A>(&self, slice: usize) -> *mut A {
        self.data.wrapping_offset(slice as isize * self.step).cast()
    }

    #[inline(always)]
    pub unsafe fn set<A>(&self, slice: usize, x: A) {
        if !self.data.is_null() {
            *self.at(slice) = x;
        }
    }
}

/// The widest register's lanes in memory.
type InMemory<A> = [A; crate::layout::WIDEST];

#[inline(always)]
pub unsafe fn map<V: Vector>(x: V, f: impl Fn(V::Scalar) -> V::Scalar) -> V {
    let mut lanes: InMemory<V::Scalar> = [V::Scalar::ZERO; crate::layout::WIDEST];
    x.store(lanes.as_mut_ptr());
    for lane in &mut lanes[..V::LANES] {
        *lane = f(*lane);
    }
    V::load(lanes.as_ptr())
}

#[inline(always)]
pub unsafe fn save<V: Vector>(saved: &Saved, x: V, i: usize, n: usize) {
    let mut lanes: InMemory<V::Scalar> = [V::Scalar::ZERO; crate::layout::WIDEST];
    x.store(lanes.as_mut_ptr());
    for (lane, &x) in lanes[..n].iter().enumerate() {
        saved.set(i + lane, x);
    }
}

#[inline(always)]
pub unsafe fn restore<V: Vector>(saved: &Saved, i: usize, n: usize) -> V {
    let mut lanes: InMemory<V::Scalar> = [V::Scalar::ZERO; crate::layout::WIDEST];
    for (lane, x) in lanes[..n].iter_mut().enumerate() {
        *x = *saved.at(i + lane);
    }
    V::load(lanes.as_ptr())
}
