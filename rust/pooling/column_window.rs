//! Windows in columns: a register of lanes, each of them an output.

use super::window::Window;
use crate::simd::Vector;

/// Pointers to the register's lanes at the first place.
pub struct ColumnWindow<A, const PER_PLACE: bool> {
    /// From the lanes of one place to those of the next.
    pub pitch: usize,
    pub places: usize,
    /// The elements, which are replaced by their gradients.
    pub x: *mut A,
    pub w: *const A,
    pub dw: *mut A,
    pub e: *mut A,
}

impl<V: Vector, const PER_PLACE: bool> Window<V> for ColumnWindow<V::Scalar, PER_PLACE> {
    const PER_PLACE: bool = PER_PLACE;

    #[inline(always)]
    fn places(&self) -> usize {
        self.places
    }
    #[inline(always)]
    unsafe fn x(&self, p: usize) -> V {
        // SAFETY: every place has a row of whole registers; so below.
        unsafe { V::load(self.x.add(p * self.pitch)) }
    }
    #[inline(always)]
    unsafe fn w(&self, p: usize) -> V {
        // SAFETY: as above.
        unsafe { V::load(if PER_PLACE { self.w.add(p * self.pitch) } else { self.w }) }
    }
    #[inline(always)]
    fn memory(&self) -> *mut V::Scalar {
        self.e
    }
    #[inline(always)]
    unsafe fn put_dx(&self, p: usize, dx: V) {
        // SAFETY: as above.
        unsafe { dx.store(self.x.add(p * self.pitch)) }
    }
    #[inline(always)]
    unsafe fn put_dw(&self, p: usize, dw: V) {
        // SAFETY: as above.
        unsafe { dw.store(self.dw.add(p * self.pitch)) }
    }
}
