//! What is known of a large window while its pieces are seen, one after the other.

use super::window::{Attended, Window};
use crate::simd::sums::Compensated;
use crate::simd::{Float, MAX_LANES, Vector};

/// The sums of e and e·x, where e = exp(score − shift), of what has been seen. Scores are in base 2.
#[derive(Clone, Copy)]
pub struct Running<A> {
    /// About the largest score, and whole: where it rises, the sums are scaled without rounding.
    pub shift: A,
    sum: Compensated<A>,
    sum_x: Compensated<A>,
}

impl<A: Float> Running<A> {
    pub const NONE: Self =
        Running { shift: A::NEG_INFINITY, sum: Compensated::ZERO, sum_x: Compensated::ZERO };

    /// A piece with this largest score comes next.
    pub fn rise_to(&mut self, maximum: A) {
        let shift = nearest_whole(maximum);
        if shift > self.shift {
            let factor = (self.shift - shift).exp2();
            self.sum = self.sum.scaled(factor);
            self.sum_x = self.sum_x.scaled(factor);
            self.shift = shift;
        }
    }

    pub fn add(&mut self, sum: A, sum_x: A) {
        self.sum = self.sum.add(sum);
        self.sum_x = self.sum_x.add(sum_x);
    }

    pub fn sum(&self) -> A {
        self.sum.total()
    }

    /// The output.
    pub fn mean(&self) -> A {
        self.sum_x.total() / self.sum()
    }
}

/// See a piece of a register's windows.
///
/// # Safety
/// The window's memory is there.
#[inline(always)]
pub unsafe fn observe<V: Vector, W: Window<V>>(window: &W, lanes: &mut [Running<V::Scalar>]) {
    // SAFETY: the caller's.
    let mut attended = unsafe { Attended::<V, W, 0>::new(window) };
    let maxima = numbers(attended.maximum());
    lanes.iter_mut().zip(maxima).for_each(|(lane, maximum)| lane.rise_to(maximum));
    let shift = register(lanes, |lane| lane.shift);
    let [sums, sums_x] = attended.add_up::<false>(shift).map(numbers);
    for (i, lane) in lanes.iter_mut().enumerate() {
        lane.add(sums[i], sums_x[i]);
    }
}

/// Put the gradients of a piece of windows of which all has been seen, and of whose outputs `g` is that; see
/// [`Attended::put_gradients`].
///
/// # Safety
/// The window's memory is there.
#[inline(always)]
pub unsafe fn gradients<V: Vector, W: Window<V>>(
    window: &W,
    lanes: &[Running<V::Scalar>],
    g: V,
    check: V,
) -> V {
    // SAFETY: the caller's.
    let mut attended = unsafe { Attended::<V, W, 0>::new(window) };
    attended.add_up::<true>(register(lanes, |lane| lane.shift));
    let g = g.div(register(lanes, Running::sum));
    attended.put_gradients(register(lanes, Running::mean), g, check)
}

/// The lanes of a register, and zeros.
#[inline(always)]
fn numbers<V: Vector>(x: V) -> [V::Scalar; MAX_LANES] {
    let mut numbers = [V::Scalar::ZERO; MAX_LANES];
    // SAFETY: no register has more.
    unsafe { x.store(numbers.as_mut_ptr()) };
    numbers
}

#[inline(always)]
fn register<V: Vector, R>(lanes: &[R], number: impl Fn(&R) -> V::Scalar) -> V {
    let mut numbers = [V::Scalar::ZERO; MAX_LANES];
    numbers.iter_mut().zip(lanes).for_each(|(to, lane)| *to = number(lane));
    // SAFETY: no register has more.
    unsafe { V::load(numbers.as_ptr()) }
}

/// Numbers that are too large for the rounding are whole.
fn nearest_whole<A: Float>(x: A) -> A {
    let limit = A::ROUNDING / A::from_f64(3.0);
    if x < limit && A::ZERO - limit < x { (x + A::ROUNDING) - A::ROUNDING } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rising_scores_cost_nothing() {
        let mut running = Running::<f32>::NONE;
        for step in 0..100_000 {
            running.rise_to(step as f32 * 1e-3);
            running.add((step as f32 * 1e-3 - running.shift).exp2(), 0.0);
        }
        let exact: f64 = (0..100_000)
            .map(|step| (f64::from(step as f32 * 1e-3) - f64::from(running.shift)).exp2())
            .sum();
        assert!((f64::from(running.sum()) / exact - 1.0).abs() < 1e-6);
    }

    #[test]
    fn large_scores_stay_as_they_are() {
        for x in [-3.4e38f32, -1e7, 5e6, 1e30] {
            assert_eq!(nearest_whole(x), x);
        }
        assert_eq!([0.4f32, -2.6, 4_000_000.5].map(nearest_whole), [0.0, -3.0, 4_000_000.0]);
        assert!(nearest_whole(f32::NAN).is_nan());
    }
}
