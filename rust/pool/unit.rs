//! What one thread does at a time: some channels of some images, tile by tile.

use super::columns::{self, Columns};
use super::movers::{self, Loops};
use super::plan::Plan;
use super::{Call, Maps, Pool};
use crate::dispatch::Direction;
use crate::numerics::{Element, Float};
use crate::simd::{Isa, Task};
use std::ops::Range;

/// A place of its own for registers that start at the last lane.
const SLACK: usize = 16;

pub struct Unit<'a, T: Element> {
    pub call: &'a Call,
    pub plan: &'a Plan,
    /// (place, channel), or one number a channel.
    pub w: &'a [T::Acc],
    pub direction: Direction,
    pub number: usize,
    /// Of the gradient of w: (place, channel of the unit).
    pub sums: *mut T::Acc,
}

/// A unit at work, with memory for one tile.
struct Worker<'a, T: Element> {
    call: &'a Call,
    pool: &'a Pool,
    plan: &'a Plan,
    channels: Range<usize>,
    pitch: usize,
    x: Vec<T::Acc>,
    w: Vec<T::Acc>,
    y: Vec<T::Acc>,
    dw: Vec<T::Acc>,
    e: Vec<T::Acc>,
    /// The gradient of an image, where windows overlap.
    dx: Vec<T::Acc>,
}

/// Rows of outputs of an image.
#[derive(Clone)]
struct Tile {
    image: usize,
    rows: Range<usize>,
}

impl<T: Element> Task for Unit<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let [channels, images] = self.plan.unit(&self.call.pool, self.number);
        let mut worker = Worker::<T>::new(&self, channels);
        let height = self.call.pool.output()[0];
        let tiles = |image| {
            (0..height)
                .step_by(self.plan.rows)
                .map(move |first| Tile { image, rows: first..(first + self.plan.rows).min(height) })
        };
        for image in images {
            if self.direction == Direction::Forward {
                for tile in tiles(image) {
                    worker.forward::<I>(&tile);
                }
                continue;
            }
            worker.start_gradient(image);
            for tile in tiles(image) {
                worker.backward::<I>(&tile);
                worker.add_gradient_of_w::<I>(&tile, self.sums);
            }
            worker.finish_gradient::<I>(image);
        }
    }
}

impl<'a, T: Element> Worker<'a, T> {
    fn new(unit: &Unit<'a, T>, channels: Range<usize>) -> Self {
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

    fn columns(&mut self) -> Columns<T::Acc> {
        Columns {
            pitch: self.pitch,
            places: self.pool.places(),
            x: self.x.as_mut_ptr(),
            w: self.w.as_ptr(),
            y: self.y.as_mut_ptr(),
            dw: self.dw.as_mut_ptr(),
            e: self.e.as_mut_ptr(),
        }
    }

    #[inline(always)]
    unsafe fn forward<I: Isa>(&mut self, tile: &Tile) {
        self.gather::<I>(tile);
        let (lanes, columns) = (self.lanes(tile), self.columns());
        match (self.pool.places(), self.pool.per_place) {
            (4, false) => columns::forward::<T::Vector<I>, 4, false>(&columns, lanes),
            (_, false) => columns::forward::<T::Vector<I>, 0, false>(&columns, lanes),
            (_, true) => columns::forward::<T::Vector<I>, 0, true>(&columns, lanes),
        }
        let (loops, y) = self.outputs(tile);
        loops.store::<T, T::Vector<I>>(columns.y, y);
    }

    #[inline(always)]
    unsafe fn backward<I: Isa>(&mut self, tile: &Tile) {
        self.gather::<I>(tile);
        let (loops, g) = self.outputs(tile);
        let (lanes, columns) = (self.lanes(tile), self.columns());
        loops.load::<T, T::Vector<I>>(g, columns.y);
        match (self.pool.places(), self.pool.per_place) {
            (4, false) => columns::backward::<T::Vector<I>, 4, false>(&columns, lanes),
            (_, false) => columns::backward::<T::Vector<I>, 0, false>(&columns, lanes),
            (_, true) => columns::backward::<T::Vector<I>, 0, true>(&columns, lanes),
        }
        self.scatter::<I>(tile);
    }

    /// The part of the outputs that the tile has.
    unsafe fn outputs(&self, tile: &Tile) -> (Loops, *mut T) {
        let maps = &self.call.y;
        let sizes = [self.channels.len(), tile.rows.len(), self.pool.output()[1]];
        let y = maps.image::<T>(self.pool, tile.image);
        let y = y.offset(self.channels.start as isize * maps.strides[0]);
        let y = y.offset(tile.rows.start as isize * maps.strides[1]);
        (Loops::new(self.plan.channels_last, sizes, maps.strides), y)
    }

    /// Loops over the elements that the tile's windows have at one place, of an array with such strides,
    /// and their offset at the place `(0, 0)`.
    fn windows(&self, tile: &Tile, strides: [isize; 3]) -> (Loops, isize) {
        let [down, right] = self.pool.stride.map(|s| s as isize);
        let sizes = [self.channels.len(), tile.rows.len(), self.pool.output()[1]];
        let apart = [strides[0], down * strides[1], right * strides[2]];
        let offset = tile.rows.start as isize * apart[1];
        (Loops::new(self.plan.channels_last, sizes, apart), offset)
    }

    fn places(&self, strides: [isize; 3]) -> impl Iterator<Item = (usize, isize)> + use<'a, T> {
        let [height, width] = self.pool.kernel;
        (0..height * width).map(move |p| {
            let (i, j) = ((p / width) as isize, (p % width) as isize);
            (p, i * strides[1] + j * strides[2])
        })
    }

    /// The tile's channels of an image.
    unsafe fn channels_of(&self, maps: &Maps, image: usize) -> *mut T {
        let start = maps.image::<T>(self.pool, image);
        start.offset(self.channels.start as isize * maps.strides[0])
    }

    /// Whether windows are two columns wide and apart, those lying side by side in memory.
    fn in_pairs(&self, maps: &Maps) -> bool {
        let is_pair = self.pool.kernel[1] == 2 && self.pool.stride[1] == 2;
        is_pair && maps.strides[2] == 1 && !self.plan.channels_last
    }

    /// Each row of pairs: where it is in memory, and where among the columns its even elements are.
    fn pairs(&self, tile: &Tile, maps: &Maps) -> impl Iterator<Item = (isize, usize)> + use<T> {
        let (rows, width, pitch) = (tile.rows.clone(), self.pool.output()[1], self.pitch);
        let ([high, _], [down, _]) = (self.pool.kernel, self.pool.stride);
        let [channel, row, _] = maps.strides;
        let (count, channels) = (rows.len(), self.channels.len());
        (0..channels * count * high).map(move |n| {
            let (at, i) = (n / high, n % high);
            let (c, r) = (at / count, at % count);
            let y = (rows.start + r) * down + i;
            (c as isize * channel + y as isize * row, 2 * i * pitch + at * width)
        })
    }

    /// Move the elements of the tile's windows into columns.
    #[inline(always)]
    unsafe fn gather<I: Isa>(&mut self, tile: &Tile) {
        let maps = &self.call.x;
        let from = self.channels_of(maps, tile.image);
        let (columns, pitch, n) = (self.x.as_mut_ptr(), self.pitch, self.pool.output()[1]);
        if self.in_pairs(maps) {
            for (offset, at) in self.pairs(tile, maps) {
                let (even, odd) = (columns.add(at), columns.add(at + pitch));
                movers::load_pairs::<T, T::Vector<I>>(from.offset(offset), n, even, odd);
            }
            return;
        }
        let (loops, start) = self.windows(tile, maps.strides);
        for (p, offset) in self.places(maps.strides) {
            let from = from.offset(start + offset);
            loops.load::<T, T::Vector<I>>(from, columns.add(p * pitch));
        }
    }

    /// Move the gradients in the columns to where the elements came from.
    #[inline(always)]
    unsafe fn scatter<I: Isa>(&mut self, tile: &Tile) {
        let Some(maps) = &self.call.dx else { return };
        let (columns, pitch, n) = (self.x.as_ptr(), self.pitch, self.pool.output()[1]);
        if self.pool.overlaps() {
            let strides = self.dense_strides();
            let (loops, start) = self.windows(tile, strides);
            let to = self.dx.as_mut_ptr();
            for (p, offset) in self.places(strides) {
                loops.add(columns.add(p * pitch), to.offset(start + offset));
            }
            return;
        }
        let to = self.channels_of(maps, tile.image);
        if self.in_pairs(maps) {
            for (offset, at) in self.pairs(tile, maps) {
                let (even, odd) = (columns.add(at), columns.add(at + pitch));
                movers::store_pairs::<T, T::Vector<I>>(even, odd, n, to.offset(offset));
            }
            return;
        }
        let (loops, start) = self.windows(tile, maps.strides);
        for (p, offset) in self.places(maps.strides) {
            loops.store::<T, T::Vector<I>>(columns.add(p * pitch), to.offset(start + offset));
        }
    }

    /// Strides of the unit's own memory for the gradient of an image.
    fn dense_strides(&self) -> [isize; 3] {
        let [height, width] = self.pool.image.map(|n| n as isize);
        let channels = self.channels.len() as isize;
        if self.plan.channels_last {
            [1, width * channels, channels]
        } else {
            [height * width, width, 1]
        }
    }

    fn whole_image(&self, maps: &Maps) -> Loops {
        let [height, width] = self.pool.image;
        let sizes = [self.channels.len(), height, width];
        Loops::new(self.plan.channels_last, sizes, maps.strides)
    }

    /// What no window covers has a gradient of zero.
    #[inline(always)]
    unsafe fn start_gradient(&mut self, image: usize) {
        let Some(maps) = &self.call.dx else { return };
        if self.pool.overlaps() {
            self.dx.fill(T::Acc::ZERO);
        } else if !self.pool.covers() {
            self.whole_image(maps).clear(self.channels_of(maps, image));
        }
    }

    #[inline(always)]
    unsafe fn finish_gradient<I: Isa>(&self, image: usize) {
        let Some(maps) = &self.call.dx else { return };
        if self.pool.overlaps() {
            let to = self.channels_of(maps, image);
            self.whole_image(maps).store::<T, T::Vector<I>>(self.dx.as_ptr(), to);
        }
    }

    #[inline(always)]
    unsafe fn add_gradient_of_w<I: Isa>(&self, tile: &Tile, sums: *mut T::Acc) {
        if self.call.dw.is_none() {
            return;
        }
        let (channels, apart) = (self.channels.len(), self.plan.channels);
        let each = tile.rows.len() * self.pool.output()[1];
        for k in 0..self.pool.weights() {
            let lanes = self.dw.as_ptr().add(k * self.pitch);
            let sums = sums.add(k * apart);
            if self.plan.channels_last {
                for i in 0..each {
                    for c in 0..channels {
                        *sums.add(c) = *sums.add(c) + *lanes.add(i * channels + c);
                    }
                }
            } else {
                for c in 0..channels {
                    let sum = movers::sum::<T::Vector<I>>(lanes.add(c * each), each);
                    *sums.add(c) = *sums.add(c) + sum;
                }
            }
        }
    }
}
