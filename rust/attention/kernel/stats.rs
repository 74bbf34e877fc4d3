//! Maxima and sums of slices while they are worked on.

use crate::attention::kernel::sums::{Compensated, PART, two_sum};
use crate::simd::{Float, Vector};

/// A maximum and a sum for each slice of a unit, in memory.
///
/// Of a unit of outer form there is a pair a lane. Of a unit that is one slice there are
/// [`crate::simd::MAX_LANES`] pairs: a register's lanes see different elements, until [`Stats::finish`]
/// gives all of them the result.
#[derive(Clone, Copy)]
pub struct Stats<A> {
    memory: *mut A,
    pub count: usize,
    pub outer_form: bool,
}

impl<A: Float> Stats<A> {
    /// Numbers of memory that a pair takes: maximum, sum, what the sum lost, and a part not yet in it.
    pub const NUMBERS: usize = 4;

    /// Nothing seen yet. `memory` holds `NUMBERS`·`count` numbers.
    pub unsafe fn new(memory: *mut A, count: usize, outer_form: bool) -> Self {
        let stats = Stats { memory, count, outer_form };
        (0..count).for_each(|i| stats.set(i, A::NEG_INFINITY, A::ZERO));
        stats
    }

    #[inline(always)]
    fn maxima(&self) -> *mut A {
        self.memory
    }
    #[inline(always)]
    fn sums(&self) -> *mut A {
        self.memory.wrapping_add(self.count)
    }
    #[inline(always)]
    fn lost(&self) -> *mut A {
        self.memory.wrapping_add(2 * self.count)
    }
    #[inline(always)]
    fn parts(&self) -> *mut A {
        self.memory.wrapping_add(3 * self.count)
    }

    pub unsafe fn get(&self, i: usize) -> (A, A) {
        (*self.maxima().add(i), *self.sums().add(i))
    }

    unsafe fn set(&self, i: usize, maximum: A, sum: A) {
        *self.maxima().add(i) = maximum;
        *self.sums().add(i) = sum;
        *self.lost().add(i) = A::ZERO;
        *self.parts().add(i) = A::ZERO;
    }

    /// Give slice `i` a maximum and a sum that are final.
    pub unsafe fn set_slice(&self, i: usize, maximum: A, sum: A) {
        if self.outer_form {
            self.set(i, maximum, sum);
        } else {
            (0..self.count).for_each(|lane| self.set(lane, maximum, sum));
        }
    }

    /// All elements have been seen: add up what belongs together.
    pub unsafe fn finish(&self) {
        let sum = |i| {
            let (sum, lost) = (*self.sums().add(i), *self.lost().add(i));
            Compensated { sum, lost }.add(*self.parts().add(i))
        };
        if self.outer_form {
            (0..self.count).for_each(|i| self.set(i, self.get(i).0, sum(i).total()));
        } else {
            let maximum = (0..self.count).fold(A::NEG_INFINITY, |m, i| {
                let (maximum, _) = self.get(i);
                if maximum > m { maximum } else { m }
            });
            let total = (1..self.count).fold(sum(0), |total, i| {
                let lane = sum(i);
                Compensated { lost: total.lost + lane.lost, ..total }.add(lane.sum)
            });
            self.set_slice(0, maximum, total.total());
        }
    }

    /// Maxima become what scores are shifted by.
    pub unsafe fn maxima_to_shifts(&self) {
        for i in 0..self.count {
            let (maximum, sum) = self.get(i);
            self.set(i, shift(maximum), sum);
        }
    }

    /// Sums become their inverses.
    pub unsafe fn sums_to_inverses(&self) {
        for i in 0..self.count {
            let (shift, sum) = self.get(i);
            self.set(i, shift, inverse(sum));
        }
    }
}

/// What scores of this maximum are shifted by: zero where all of them are −∞.
#[inline(always)]
pub fn shift<A: Float>(maximum: A) -> A {
    if maximum == A::NEG_INFINITY { A::ZERO } else { maximum }
}

/// The inverse of a sum of exponentials: zero where nothing was kept.
#[inline(always)]
pub fn inverse<A: Float>(sum: A) -> A {
    if sum == A::ZERO { A::ZERO } else { A::ONE / sum }
}

/// The statistics while rows are worked on: in registers, unless each lane has its own.
pub struct Running<V: Vector, const OUTER: bool> {
    maximum: V,
    sum: V,
    lost: V,
    part: V,
    stats: Stats<V::Scalar>,
}

impl<V: Vector, const OUTER: bool> Running<V, OUTER> {
    #[inline(always)]
    pub unsafe fn load(stats: &Stats<V::Scalar>) -> Self {
        Running {
            maximum: V::load(stats.maxima()),
            sum: V::load(stats.sums()),
            lost: V::load(stats.lost()),
            part: V::load(stats.parts()),
            stats: *stats,
        }
    }

    #[inline(always)]
    pub unsafe fn store(self) {
        if !OUTER {
            self.maximum.store(self.stats.maxima());
            self.sum.store(self.stats.sums());
            self.lost.store(self.stats.lost());
            self.part.store(self.stats.parts());
        }
    }

    #[inline(always)]
    pub unsafe fn see(&mut self, i: usize, z: V) {
        if OUTER {
            let p = self.stats.maxima().add(i);
            z.max(V::load(p)).store(p);
        } else {
            self.maximum = z.max(self.maximum);
        }
    }

    #[inline(always)]
    pub unsafe fn add(&mut self, i: usize, x: V) {
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

    /// A single slice's part goes into its sum.
    #[inline(always)]
    unsafe fn end_part(&mut self) {
        let (sum, lost) = two_sum(self.sum, self.part);
        (self.sum, self.lost) = (sum, self.lost.add(lost));
        self.part = V::splat(V::Scalar::ZERO);
    }

    /// Row `row` of `len` has been added.
    #[inline(always)]
    pub unsafe fn end_row(&mut self, row: usize, len: usize) {
        if !OUTER {
            self.end_part();
        } else if row % PART == PART - 1 {
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

    #[inline(always)]
    pub unsafe fn maximum(&self, i: usize) -> V {
        if OUTER { V::load(self.stats.maxima().add(i)) } else { self.maximum }
    }

    #[inline(always)]
    pub unsafe fn sum(&self, i: usize) -> V {
        if OUTER { V::load(self.stats.sums().add(i)) } else { self.sum }
    }
}
