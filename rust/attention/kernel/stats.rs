//! Maxima and sums of slices while they are worked on.

use crate::attention::kernel::sums::Compensated;
use crate::simd::Float;

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

    pub fn is_absent(&self) -> bool {
        self.memory.is_null()
    }

    /// None, for passes that have no use for them.
    pub fn absent() -> Self {
        Stats { memory: std::ptr::null_mut(), count: 0, outer_form: false }
    }

    /// Nothing seen yet. `memory` holds `NUMBERS`·`count` numbers.
    ///
    /// # Safety
    /// The memory of the statistics is valid and has a place for each of these elements.
    pub unsafe fn new(memory: *mut A, count: usize, outer_form: bool) -> Self {
        // SAFETY: the caller's.
        unsafe {
            let stats = Stats { memory, count, outer_form };
            (0..count).for_each(|i| stats.set(i, A::NEG_INFINITY, A::ZERO));
            stats
        }
    }

    #[inline(always)]
    pub fn maxima(&self) -> *mut A {
        self.memory
    }
    #[inline(always)]
    pub fn sums(&self) -> *mut A {
        self.memory.wrapping_add(self.count)
    }
    #[inline(always)]
    pub fn lost(&self) -> *mut A {
        self.memory.wrapping_add(2 * self.count)
    }
    #[inline(always)]
    pub fn parts(&self) -> *mut A {
        self.memory.wrapping_add(3 * self.count)
    }

    /// # Safety
    /// The memory of the statistics is valid and has a place for each of these elements.
    pub unsafe fn get(&self, i: usize) -> (A, A) {
        // SAFETY: the caller's.
        unsafe { (*self.maxima().add(i), *self.sums().add(i)) }
    }

    /// # Safety
    /// The memory of the statistics is valid and has a place for each of these elements.
    unsafe fn set(&self, i: usize, maximum: A, sum: A) {
        // SAFETY: the caller's.
        unsafe {
            *self.maxima().add(i) = maximum;
            *self.sums().add(i) = sum;
            *self.lost().add(i) = A::ZERO;
            *self.parts().add(i) = A::ZERO;
        }
    }

    /// Give slice `i` a maximum and a sum that are final.
    ///
    /// # Safety
    /// The memory of the statistics is valid and has a place for each of these elements.
    pub unsafe fn set_slice(&self, i: usize, maximum: A, sum: A) {
        // SAFETY: the caller's.
        unsafe {
            if self.outer_form {
                self.set(i, maximum, sum);
            } else {
                (0..self.count).for_each(|lane| self.set(lane, maximum, sum));
            }
        }
    }

    /// All elements have been seen: add up what belongs together.
    ///
    /// # Safety
    /// The memory of the statistics is valid and has a place for each of these elements.
    pub unsafe fn finish(&self) {
        // SAFETY: the caller's.
        unsafe {
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
    }

    /// Maxima become what scores are shifted by.
    ///
    /// # Safety
    /// The memory of the statistics is valid and has a place for each of these elements.
    pub unsafe fn maxima_to_shifts(&self) {
        // SAFETY: the caller's.
        unsafe {
            for i in 0..self.count {
                let (maximum, sum) = self.get(i);
                self.set(i, shift(maximum), sum);
            }
        }
    }

    /// Sums become their inverses.
    ///
    /// # Safety
    /// The memory of the statistics is valid and has a place for each of these elements.
    pub unsafe fn sums_to_inverses(&self) {
        // SAFETY: the caller's.
        unsafe {
            for i in 0..self.count {
                let (shift, sum) = self.get(i);
                self.set(i, shift, inverse(sum));
            }
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
