//! Sums for the gradient of w: over windows, tiles and images, with a compensation for what rounding took.

use super::im2col::Im2col;
use super::plan::Tile;
use super::window::PART;
use crate::simd::sums::{Compensated, CompensatedLanes};
use crate::simd::{Float, Lanes, Vector};
use std::ops::Range;

/// Numbers for (place, channel), `channels` a place, each with what its sum has lost.
pub struct WeightSums<'a, A> {
    sums: &'a mut [A],
    lost: &'a mut [A],
    channels: usize,
}

impl<'a, A: Float> WeightSums<'a, A> {
    /// `memory` is two numbers each, which begin as zero.
    pub fn new(memory: &'a mut [A], channels: usize) -> Self {
        let (sums, lost) = memory.split_at_mut(memory.len() / 2);
        WeightSums { sums, lost, channels }
    }

    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    pub fn clear(&mut self) {
        self.sums.fill(A::ZERO);
        self.lost.fill(A::ZERO);
    }

    /// Add to the `k`-th place, channel by channel from `c` on.
    #[inline(always)]
    pub fn add(&mut self, k: usize, c: usize, terms: &[A]) {
        let places = k * self.channels + c..k * self.channels + c + terms.len();
        let (sums, lost) = (&mut self.sums[places.clone()], &mut self.lost[places]);
        for ((sum, lost), &term) in sums.iter_mut().zip(lost).zip(terms) {
            let new = Compensated { sum: *sum, lost: *lost }.add(term);
            (*sum, *lost) = (new.sum, new.lost);
        }
    }

    /// Add the lanes of some places of a tile.
    #[inline(always)]
    pub fn add_lanes<V>(&mut self, im2col: &Im2col, tile: &Tile, places: Range<usize>, dw: &[A])
    where
        V: Vector<Scalar = A> + Lanes<A>,
    {
        let each = im2col.outputs_of_channel(tile);
        let (channels, last) = (im2col.channels.len(), im2col.channels_last);
        let weights = if im2col.pool.per_place { places } else { 0..1 };
        for (i, k) in weights.enumerate() {
            for c in 0..channels {
                let lanes = &dw[i * im2col.pitch + if last { c } else { c * each }..];
                let sum = match last {
                    true => strided_sum(&lanes[..(each - 1) * channels + 1], channels),
                    false => sum::<V>(&lanes[..each]),
                };
                self.add(k, c, &[sum]);
            }
        }
    }

    /// With the sums of another unit.
    pub fn plus(self, other: &WeightSums<A>) -> Self {
        for (i, (&sum, &lost)) in other.sums.iter().zip(other.lost.iter()).enumerate() {
            let new = Compensated { sum: self.sums[i], lost: self.lost[i] + lost }.add(sum);
            (self.sums[i], self.lost[i]) = (new.sum, new.lost);
        }
        self
    }

    pub fn get(&self, k: usize, c: usize) -> A {
        let place = k * self.channels + c;
        Compensated { sum: self.sums[place], lost: self.lost[place] }.total()
    }
}

/// In an order that depends on how many there are alone.
#[inline(always)]
fn sum<V: Lanes<<V as Vector>::Scalar>>(numbers: &[V::Scalar]) -> V::Scalar {
    let (n, p) = (numbers.len(), numbers.as_ptr());
    let full = n - n % V::LANES;
    let one_part = full <= PART * V::LANES;
    let mut total = CompensatedLanes::<V>::new();
    // SAFETY: all of it lies in the slice.
    unsafe {
        let mut part = V::load_from::<false>(p.add(full), n - full);
        for start in (0..full).step_by(PART * V::LANES) {
            for i in (start..full.min(start + PART * V::LANES)).step_by(V::LANES) {
                part = part.add(V::load(p.add(i)));
            }
            if !one_part {
                (total, part) = (total.add(part), V::splat(V::Scalar::ZERO));
            }
        }
        if one_part { part.reduce_sum() } else { total.total() }
    }
}

/// Of every `step`-th number, in two parts that keep the error of long sums small.
fn strided_sum<A: Float>(numbers: &[A], step: usize) -> A {
    let n = numbers.len().div_ceil(step);
    if n <= PART {
        return numbers.iter().step_by(step).fold(A::ZERO, |sum, &x| sum + x);
    }
    let (first, second) = numbers.split_at(n / 2 * step);
    strided_sum(first, step) + strided_sum(second, step)
}
