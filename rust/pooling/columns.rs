//! Windows of any memory: their elements are moved into columns, one row of memory a place and one lane an
//! output.

use super::movers;
use super::plan::Plan;
use super::unit::{Tile, Unit};
use super::window::{self, Window};
use super::{Call, Pool};
use crate::simd::{Float, Packed};
use crate::simd::{Isa, Vector};
use crate::tensor::dtype::Direction;
use std::ops::Range;

/// Registers are whole: so much more room there is behind the last lane.
const SLACK: usize = 16;

/// Some channels of images at work, with memory for one tile.
pub struct Worker<'a, T: Packed> {
    pub call: &'a Call,
    pub pool: &'a Pool,
    pub plan: &'a Plan,
    pub channels: Range<usize>,
    /// From the lanes of one place to those of the next.
    pub pitch: usize,
    /// The windows' elements, which the backward replaces by their gradients.
    pub x: Vec<T::Acc>,
    w: Vec<T::Acc>,
    /// The outputs, or their gradients.
    y: Vec<T::Acc>,
    dw: Vec<T::Acc>,
    e: Vec<T::Acc>,
    /// The gradient of an image, where windows overlap.
    pub dx: Vec<T::Acc>,
}

/// A register of lanes.
struct Columns<A, const PER_PLACE: bool> {
    pitch: usize,
    places: usize,
    x: *mut A,
    w: *const A,
    dw: *mut A,
    e: *mut A,
}

impl<V: Vector, const PER_PLACE: bool> Window<V> for Columns<V::Scalar, PER_PLACE> {
    const PER_PLACE: bool = PER_PLACE;

    #[inline(always)]
    fn places(&self) -> usize {
        self.places
    }
    #[inline(always)]
    unsafe fn x(&self, p: usize) -> V {
        V::load(self.x.add(p * self.pitch))
    }
    #[inline(always)]
    unsafe fn w(&self, p: usize) -> V {
        V::load(if PER_PLACE { self.w.add(p * self.pitch) } else { self.w })
    }
    #[inline(always)]
    fn memory(&self) -> *mut V::Scalar {
        self.e
    }
    #[inline(always)]
    unsafe fn put_dx(&self, p: usize, dx: V) {
        dx.store(self.x.add(p * self.pitch));
    }
    #[inline(always)]
    unsafe fn put_dw(&self, p: usize, dw: V) {
        dw.store(self.dw.add(p * self.pitch));
    }
}

impl<'a, T: Packed> Worker<'a, T> {
    pub fn new(unit: &Unit<'a, T>, channels: Range<usize>) -> Self {
        let (call, plan, pool) = (unit.call, unit.plan, &unit.call.pool);
        let (places, weights, width) = (pool.places(), pool.weights(), pool.output()[1]);
        let lanes = channels.len() * plan.rows * width;
        let pitch = lanes.next_multiple_of(SLACK) + SLACK;
        let zeros = |n: usize| vec![T::Acc::ZERO; n];
        let backward = unit.direction == Direction::Backward;
        let mut w = zeros(weights * pitch);
        for k in 0..weights {
            for lane in 0..lanes {
                let among = if plan.channels_last {
                    lane % channels.len()
                } else {
                    lane / (plan.rows * width)
                };
                w[k * pitch + lane] = unit.w[k * pool.channels + channels.start + among];
            }
        }
        let image = channels.len() * pool.image[0] * pool.image[1];
        let has_dx = backward && pool.overlaps() && call.dx.is_some();
        Worker {
            call,
            pool,
            plan,
            pitch,
            x: zeros(places * pitch),
            w,
            y: zeros(pitch),
            dw: zeros(if backward { weights * pitch } else { 0 }),
            e: zeros(if backward { places * SLACK } else { 0 }),
            dx: zeros(if has_dx { image } else { 0 }),
            channels,
        }
    }

    fn lanes(&self, tile: &Tile) -> usize {
        self.channels.len() * tile.rows.len() * self.pool.output()[1]
    }

    #[inline(always)]
    pub unsafe fn forward<I: Isa>(&mut self, tile: &Tile) {
        self.gather::<I>(tile);
        self.compute::<I>(tile, Direction::Forward);
        let (loops, y) = self.outputs(tile);
        loops.store::<T, T::Vector<I>>(self.y.as_ptr(), y);
    }

    #[inline(always)]
    pub unsafe fn backward<I: Isa>(&mut self, tile: &Tile, sums: &mut [T::Acc]) {
        self.gather::<I>(tile);
        let (loops, g) = self.outputs(tile);
        loops.load::<T, T::Vector<I>>(g, self.y.as_mut_ptr());
        self.compute::<I>(tile, Direction::Backward);
        self.scatter::<I>(tile);
        if !sums.is_empty() {
            self.add_up::<I>(tile, sums);
        }
    }

    #[inline(always)]
    unsafe fn compute<I: Isa>(&mut self, tile: &Tile, direction: Direction) {
        match (self.pool.places(), self.pool.per_place) {
            (4, false) => self.compute_as::<T::Vector<I>, 4, false>(tile, direction),
            (_, false) => self.compute_as::<T::Vector<I>, 0, false>(tile, direction),
            (_, true) => self.compute_as::<T::Vector<I>, 0, true>(tile, direction),
        }
    }

    #[inline(always)]
    unsafe fn compute_as<V: Vector<Scalar = T::Acc>, const K: usize, const PER_PLACE: bool>(
        &mut self,
        tile: &Tile,
        direction: Direction,
    ) {
        for at in (0..self.lanes(tile)).step_by(V::LANES) {
            let y = self.y.as_mut_ptr().add(at);
            let window = Columns::<V::Scalar, PER_PLACE> {
                pitch: self.pitch,
                places: self.pool.places(),
                x: self.x.as_mut_ptr().add(at),
                w: self.w.as_ptr().add(at),
                dw: self.dw.as_mut_ptr().wrapping_add(at),
                e: self.e.as_mut_ptr(),
            };
            if direction == Direction::Forward {
                window::output::<V, _, K>(&window).store(y);
            } else {
                window::gradients::<V, _, K>(&window, V::load(y));
            }
        }
    }

    /// Add the tile's gradients of w to those of the unit.
    #[inline(always)]
    unsafe fn add_up<I: Isa>(&self, tile: &Tile, sums: &mut [T::Acc]) {
        let each = tile.rows.len() * self.pool.output()[1];
        let apart = sums.len() / self.pool.weights();
        let step = if self.plan.channels_last { 1 } else { each };
        for k in 0..self.pool.weights() {
            for c in 0..self.channels.len() {
                let lanes = self.dw.as_ptr().add(k * self.pitch + c * step);
                let sum = &mut sums[k * apart + c];
                *sum = *sum
                    + match self.plan.channels_last {
                        true => movers::strided_sum(lanes, each, self.channels.len()),
                        false => movers::sum::<T::Vector<I>>(lanes, each),
                    };
            }
        }
    }
}
