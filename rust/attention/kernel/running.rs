//! Statistics of slices in registers, while rows are worked on.

use crate::attention::kernel::stats::Stats;
use crate::attention::kernel::sums::{PART, two_sum};
use crate::simd::{Float, Vector};

/// The statistics while rows are worked on: in registers, unless each lane has its own.
pub struct Running<V: Vector, const OUTER: bool> {
    maximum: V,
    sum: V,
    lost: V,
    part: V,
    stats: Stats<V::Scalar>,
}

impl<V: Vector, const OUTER: bool> Running<V, OUTER> {
    /// # Safety
    /// The memory of the statistics is valid and has a place for each of these elements.
    #[inline(always)]
    pub unsafe fn load(stats: &Stats<V::Scalar>) -> Self {
        // SAFETY: the caller's.
        unsafe {
            let zero = V::splat(V::Scalar::ZERO);
            if stats.is_absent() {
                return Running { maximum: zero, sum: zero, lost: zero, part: zero, stats: *stats };
            }
            Running {
                maximum: V::load(stats.maxima()),
                sum: V::load(stats.sums()),
                lost: V::load(stats.lost()),
                part: V::load(stats.parts()),
                stats: *stats,
            }
        }
    }

    /// # Safety
    /// The memory of the statistics is valid and has a place for each of these elements.
    #[inline(always)]
    pub unsafe fn store(self) {
        // SAFETY: the caller's.
        unsafe {
            if !OUTER && !self.stats.is_absent() {
                self.maximum.store(self.stats.maxima());
                self.sum.store(self.stats.sums());
                self.lost.store(self.stats.lost());
                self.part.store(self.stats.parts());
            }
        }
    }

    /// # Safety
    /// The memory of the statistics is valid and has a place for each of these elements.
    #[inline(always)]
    pub unsafe fn see(&mut self, i: usize, z: V) {
        // SAFETY: the caller's.
        unsafe {
            if OUTER {
                let p = self.stats.maxima().add(i);
                z.max(V::load(p)).store(p);
            } else {
                self.maximum = z.max(self.maximum);
            }
        }
    }

    /// # Safety
    /// The memory of the statistics is valid and has a place for each of these elements.
    #[inline(always)]
    pub unsafe fn add(&mut self, i: usize, x: V) {
        // SAFETY: the caller's.
        unsafe {
            if OUTER {
                let p = self.stats.parts().add(i);
                V::load(p).add(x).store(p);
            } else {
                self.part = self.part.add(x);
                if i % (PART * V::LANES) == (PART - 1) * V::LANES {
                    self.end_part();
                }
            }
        }
    }

    /// A single slice's part goes into its sum.
    #[inline(always)]
    fn end_part(&mut self) {
        let (sum, lost) = two_sum(self.sum, self.part);
        (self.sum, self.lost) = (sum, self.lost.add(lost));
        self.part = V::splat(V::Scalar::ZERO);
    }

    /// Row `row` of `rows`, of `len` elements each, has been added. The last one ends a part too: the next
    /// block of the slice would add to it.
    ///
    /// # Safety
    /// The memory of the statistics is valid and has a place for each of these elements.
    #[inline(always)]
    pub unsafe fn end_row(&mut self, row: usize, rows: usize, len: usize) {
        // SAFETY: the caller's.
        unsafe {
            if !OUTER {
                self.end_part();
            } else if row % PART == PART - 1 || row + 1 == rows {
                for i in (0..len).step_by(V::LANES) {
                    let [sums, lost, parts] =
                        [self.stats.sums(), self.stats.lost(), self.stats.parts()];
                    let (sum, more) = two_sum(V::load(sums.add(i)), V::load(parts.add(i)));
                    sum.store(sums.add(i));
                    V::load(lost.add(i)).add(more).store(lost.add(i));
                    V::splat(V::Scalar::ZERO).store(parts.add(i));
                }
            }
        }
    }

    /// # Safety
    /// The memory of the statistics is valid and has a place for each of these elements.
    #[inline(always)]
    pub unsafe fn maximum(&self, i: usize) -> V {
        // SAFETY: the caller's.
        unsafe { if OUTER { V::load(self.stats.maxima().add(i)) } else { self.maximum } }
    }

    /// # Safety
    /// The memory of the statistics is valid and has a place for each of these elements.
    #[inline(always)]
    pub unsafe fn sum(&self, i: usize) -> V {
        // SAFETY: the caller's.
        unsafe { if OUTER { V::load(self.stats.sums().add(i)) } else { self.sum } }
    }
}
