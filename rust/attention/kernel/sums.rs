//! Sums whose error does not grow with their length.

use crate::simd::{Float, Vector};

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

    /// The sum; what an infinite one has lost is NaN and does not count.
    #[allow(clippy::eq_op)] // NaN
    pub fn total(self) -> A {
        let total = self.sum + self.lost;
        if total == total { total } else { self.sum }
    }
}

/// Add terms to sums, and what rounding takes from these to what they have lost.
pub fn add_to_sums<A: Float>(sums: &mut [A], lost: &mut [A], terms: &[A]) {
    for ((sum, lost), &x) in sums.iter_mut().zip(lost).zip(terms) {
        let total = Compensated { sum: *sum, lost: *lost }.add(x);
        (*sum, *lost) = (total.sum, total.lost);
    }
}

/// A sum of registers, added up in parts of [`PART`] registers each.
#[derive(Clone, Copy)]
pub struct Summation<V> {
    /// Parts not yet in the sum, and how many.
    some: V,
    count: usize,
    sum: V,
    lost: V,
}

impl<V: Vector> Summation<V> {
    #[inline(always)]
    pub fn new() -> Self {
        let zero = V::splat(V::Scalar::ZERO);
        Summation { some: zero, count: 0, sum: zero, lost: zero }
    }

    #[inline(always)]
    pub fn add_part(&mut self, part: V) {
        self.some = self.some.add(part);
        self.count += 1;
        if self.count.is_multiple_of(PART) {
            self.flush();
        }
    }

    #[inline(always)]
    fn flush(&mut self) {
        let (sum, lost) = two_sum(self.sum, self.some);
        (self.sum, self.lost) = (sum, self.lost.add(lost));
        self.some = V::splat(V::Scalar::ZERO);
    }

    /// All lanes together.
    #[inline(always)]
    pub fn total(mut self) -> V::Scalar {
        if self.count < PART {
            return self.some.reduce_sum();
        }
        self.flush();
        Compensated { sum: self.sum.reduce_sum(), lost: self.lost.reduce_sum() }.total()
    }

    /// Each lane for itself.
    #[inline(always)]
    pub fn lanes(mut self) -> V {
        if self.count < PART {
            return self.some;
        }
        self.flush();
        // What an infinite sum has lost is NaN and does not count.
        self.sum.add(self.lost.zero_where_nan())
    }
}

/// The sum of two registers, and what rounding took from it.
#[inline(always)]
pub fn two_sum<V: Vector>(a: V, b: V) -> (V, V) {
    let sum = a.add(b);
    let added = sum.sub(a);
    (sum, a.sub(sum.sub(added)).add(b.sub(added)))
}
