//! Channels-last images: the lanes of a register are channels, which are read and written where they lie.

use super::unit::{Tile, Unit};
use super::window::{self, Window};
use super::{Call, Maps, Pool};
use crate::simd::{Float, Packed};
use crate::simd::{Isa, Lanes, Vector};
use crate::tensor::dtype::Direction;
use std::ops::Range;

/// The most lanes that there are.
const LANES: usize = 16;

/// Whether all memory has its channels side by side, and no two windows write to one element of dx.
pub fn is_possible(call: &Call, direction: Direction) -> bool {
    let adjacent = [Some(&call.x), Some(&call.y), call.dx.as_ref()];
    adjacent.into_iter().flatten().all(|maps| maps.strides[0] == 1)
        && (direction == Direction::Forward || call.dx.is_none() || !call.pool.overlaps())
}

pub struct Worker<'a, T: Packed> {
    call: &'a Call,
    pool: &'a Pool,
    pub channels: Range<usize>,
    /// (place, channel), or one number a channel, of all channels.
    w: &'a [T::Acc],
    /// Of each place, from the first one of its window in x and in dx.
    offsets: Vec<(isize, isize)>,
    e: Vec<T::Acc>,
    /// (place, channel of the unit), of a tile.
    dw: Vec<T::Acc>,
}

/// The first channel of a window, of its gradient (or null) and of its output.
#[derive(Clone, Copy)]
struct Pointers<T> {
    x: *const T,
    dx: *mut T,
    y: *mut T,
}

/// Some channels of one window.
struct Channels<'a, T: Packed, V, const FULL: bool, const PER_PLACE: bool> {
    x: *const T,
    dx: *mut T,
    w: V,
    all_w: *const T::Acc,
    apart: usize,
    dw: *mut T::Acc,
    dw_apart: usize,
    offsets: &'a [(isize, isize)],
    e: *mut T::Acc,
    /// How many channels there are, unless they fill the register.
    n: usize,
}

impl<T, V, const FULL: bool, const PER_PLACE: bool> Window<V>
    for Channels<'_, T, V, FULL, PER_PLACE>
where
    T: Packed,
    V: Lanes<T> + Lanes<T::Acc> + Vector<Scalar = T::Acc>,
{
    const PER_PLACE: bool = PER_PLACE;

    #[inline(always)]
    fn places(&self) -> usize {
        self.offsets.len()
    }
    #[inline(always)]
    unsafe fn x(&self, p: usize) -> V {
        let x = self.x.offset(self.offsets.get_unchecked(p).0);
        <V as Lanes<T>>::load_from::<FULL>(x, self.n)
    }
    #[inline(always)]
    unsafe fn w(&self, p: usize) -> V {
        if !PER_PLACE {
            return self.w;
        }
        <V as Lanes<T::Acc>>::load_from::<FULL>(self.all_w.add(p * self.apart), self.n)
    }
    #[inline(always)]
    fn memory(&self) -> *mut T::Acc {
        self.e
    }
    #[inline(always)]
    unsafe fn put_dx(&self, p: usize, dx: V) {
        if !self.dx.is_null() {
            let to = self.dx.offset(self.offsets.get_unchecked(p).1);
            <V as Lanes<T>>::store_to::<FULL>(dx, to, self.n);
        }
    }
    #[inline(always)]
    unsafe fn put_dw(&self, p: usize, dw: V) {
        let sum = self.dw.add(p * self.dw_apart);
        V::load(sum).add(dw).store(sum);
    }
}

impl<'a, T: Packed> Worker<'a, T> {
    pub fn new(unit: &Unit<'a, T>, channels: Range<usize>) -> Self {
        let (call, pool) = (unit.call, &unit.call.pool);
        let offsets = (0..pool.places()).map(|p| {
            let at = [p / pool.kernel[1], p % pool.kernel[1]];
            (call.x.place(at), call.dx.as_ref().map_or(0, |dx| dx.place(at)))
        });
        let backward = unit.direction == Direction::Backward;
        let lanes = channels.len().next_multiple_of(LANES);
        Worker {
            call,
            pool,
            w: unit.w,
            offsets: offsets.collect(),
            e: vec![T::Acc::ZERO; pool.places() * LANES],
            dw: vec![T::Acc::ZERO; if backward { pool.weights() * lanes } else { 0 }],
            channels,
        }
    }

    #[inline(always)]
    pub unsafe fn run<I: Isa>(&mut self, tile: &Tile, direction: Direction, sums: &mut [T::Acc]) {
        match (self.pool.places(), self.pool.per_place) {
            (4, false) => self.run_as::<I, 4, false>(tile, direction),
            (_, false) => self.run_as::<I, 0, false>(tile, direction),
            (_, true) => self.run_as::<I, 0, true>(tile, direction),
        }
        if direction == Direction::Backward {
            self.add_up(sums);
        }
    }

    #[inline(always)]
    unsafe fn run_as<I: Isa, const K: usize, const PER_PLACE: bool>(
        &mut self,
        tile: &Tile,
        direction: Direction,
    ) {
        let lanes = <T::Vector<I> as Vector>::LANES;
        let n = self.channels.len();
        let full = n - n % lanes;
        let [x, y] = [&self.call.x, &self.call.y].map(|maps| self.start::<T>(maps, tile.image));
        let dx = self.call.dx.as_ref();
        let start_dx = dx.map_or(std::ptr::null_mut(), |dx| self.start::<T>(dx, tile.image));
        for row in tile.rows.clone() {
            for column in 0..self.pool.output()[1] {
                let first = [row * self.pool.stride[0], column * self.pool.stride[1]];
                let at = Pointers {
                    x: x.offset(self.call.x.place(first)),
                    dx: dx.map_or(start_dx, |dx| start_dx.offset(dx.place(first))),
                    y: y.offset(self.call.y.place([row, column])),
                };
                for c in (0..full).step_by(lanes) {
                    self.some::<I, K, PER_PLACE, true>(at, c, lanes, direction);
                }
                if full < n {
                    self.some::<I, K, PER_PLACE, false>(at, full, n - full, direction);
                }
            }
        }
    }

    /// The unit's first channel of an image.
    fn start<E>(&self, maps: &Maps, image: usize) -> *mut E {
        maps.image::<E>(self.pool, image).wrapping_add(self.channels.start)
    }

    /// `n` channels of a window, from the unit's `c`-th.
    #[inline(always)]
    unsafe fn some<I: Isa, const K: usize, const PER_PLACE: bool, const FULL: bool>(
        &mut self,
        at: Pointers<T>,
        c: usize,
        n: usize,
        direction: Direction,
    ) {
        let all_w = self.w.as_ptr().add(self.channels.start + c);
        let window = Channels::<T, T::Vector<I>, FULL, PER_PLACE> {
            x: at.x.add(c),
            dx: if at.dx.is_null() { at.dx } else { at.dx.add(c) },
            w: <T::Vector<I> as Lanes<T::Acc>>::load_from::<FULL>(all_w, n),
            all_w,
            apart: self.pool.channels,
            dw: self.dw.as_mut_ptr().wrapping_add(c),
            dw_apart: self.channels.len().next_multiple_of(LANES),
            offsets: &self.offsets,
            e: self.e.as_mut_ptr(),
            n,
        };
        let y = at.y.add(c);
        if direction == Direction::Forward {
            let output = window::output::<T::Vector<I>, _, K>(&window);
            <T::Vector<I> as Lanes<T>>::store_to::<FULL>(output, y, n);
        } else {
            let g = <T::Vector<I> as Lanes<T>>::load_from::<FULL>(y, n);
            window::gradients::<T::Vector<I>, _, K>(&window, g);
        }
    }

    /// Add the tile's gradients of w to those of the unit.
    fn add_up(&mut self, sums: &mut [T::Acc]) {
        let n = self.channels.len();
        for (k, of_tile) in self.dw.chunks_exact_mut(n.next_multiple_of(LANES)).enumerate() {
            let apart = sums.len() / self.pool.weights();
            for (sum, of_tile) in sums[k * apart..].iter_mut().zip(&mut of_tile[..n]) {
                *sum = *sum + *of_tile;
                *of_tile = T::Acc::ZERO;
            }
        }
    }
}
