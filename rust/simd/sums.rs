//! Sums whose error does not grow with their length.

#![allow(clippy::new_without_default)] // "new" is what a sum begins with

use super::{Float, Vector};

/// Terms are summed this many at a time, and these sums with a compensation for what rounding took: the
/// error of a sum does not grow with its length.
pub const PART: usize = 8;

/// A sum and what rounding took from it (Knuth's TwoSum).
#[derive(Clone, Copy)]
pub struct Compensated<A> {
    pub sum: A,
    pub lost: A,
}

impl<A: Float> Compensated<A> {
    pub const ZERO: Self = Compensated { sum: A::ZERO, lost: A::ZERO };

    pub fn add(self, x: A) -> Self {
        let sum = self.sum + x;
        let added = sum - self.sum;
        let lost = (self.sum - (sum - added)) + (x - added);
        Compensated { sum, lost: self.lost + lost }
    }

    pub fn scaled(self, factor: A) -> Self {
        Compensated { sum: self.sum * factor, lost: self.lost * factor }
    }

    /// The sum; what an infinite one has lost is NaN and does not count.
    #[allow(clippy::eq_op)] // NaN
    pub fn total(self) -> A {
        let total = self.sum + self.lost;
        if total == total { total } else { self.sum }
    }
}

/// A sum of registers, each lane for itself, and what rounding took from it.
#[derive(Clone, Copy)]
pub struct CompensatedLanes<V> {
    pub sum: V,
    pub lost: V,
}

impl<V: Vector> CompensatedLanes<V> {
    #[inline(always)]
    pub fn new() -> Self {
        let zero = V::splat(V::Scalar::ZERO);
        CompensatedLanes { sum: zero, lost: zero }
    }

    #[inline(always)]
    pub fn add(self, x: V) -> Self {
        let (sum, lost) = two_sum(self.sum, x);
        CompensatedLanes { sum, lost: self.lost.add(lost) }
    }

    /// Add, and let rounding take what it takes.
    #[inline(always)]
    pub fn rounded(self, x: V) -> Self {
        CompensatedLanes { sum: self.sum.add(x), ..self }
    }

    /// The sums; what an infinite one has lost is NaN and does not count.
    #[inline(always)]
    pub fn lanes(self) -> V {
        self.sum.add(self.lost.zero_where_nan())
    }

    /// The sums with a last term.
    #[inline(always)]
    pub fn with(self, x: V) -> V {
        self.sum.add(self.lost.zero_where_nan().add(x))
    }

    /// All lanes together.
    #[inline(always)]
    pub fn total(self) -> V::Scalar {
        Compensated { sum: self.sum.reduce_sum(), lost: self.lost.reduce_sum() }.total()
    }
}

/// A sum of registers, added up in parts of [`PART`] registers each.
#[derive(Clone, Copy)]
pub struct Summation<V> {
    /// Parts not yet in the sum, and how many.
    some: V,
    count: usize,
    whole: CompensatedLanes<V>,
}

impl<V: Vector> Summation<V> {
    #[inline(always)]
    pub fn new() -> Self {
        let some = V::splat(V::Scalar::ZERO);
        Summation { some, count: 0, whole: CompensatedLanes::new() }
    }

    #[inline(always)]
    pub fn add_part(&mut self, part: V) {
        self.some = self.some.add(part);
        self.count += 1;
        if self.count.is_multiple_of(PART) {
            self.whole = self.whole.add(self.some);
            self.some = V::splat(V::Scalar::ZERO);
        }
    }

    /// All lanes together.
    #[inline(always)]
    pub fn total(self) -> V::Scalar {
        if self.count < PART {
            return self.some.reduce_sum();
        }
        self.whole.add(self.some).total()
    }

    /// Each lane for itself.
    #[inline(always)]
    pub fn lanes(self) -> V {
        if self.count < PART {
            return self.some;
        }
        self.whole.add(self.some).lanes()
    }
}

/// The sum of two registers, and what rounding took from it.
#[inline(always)]
pub fn two_sum<V: Vector>(a: V, b: V) -> (V, V) {
    let sum = a.add(b);
    let added = sum.sub(a);
    (sum, a.sub(sum.sub(added)).add(b.sub(added)))
}
