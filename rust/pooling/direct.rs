//! Channels-last images: the lanes of a register are channels, which are read and written where they lie.

use super::call::{ImageView, PoolingCall};
use super::plan::{PoolingUnit, Tile};
use super::sizes::Pool;
use super::window::{self, Window};
use crate::simd::{Float, Isa, Lanes, MAX_LANES, Packed, Register, Vector};
use crate::tensor::dtype::Direction;
use std::ops::Range;

/// Whether all memory has its channels side by side, and no two windows write to one element of dx.
pub fn is_possible(call: &PoolingCall, direction: Direction) -> bool {
    let adjacent = [Some(&call.x), Some(&call.y), call.dx.as_ref()];
    adjacent.into_iter().flatten().all(|view| view.strides[0] == 1)
        && (direction == Direction::Forward || call.dx.is_none() || !call.pool.overlaps())
}

pub struct DirectPooling<'a, T: Packed> {
    call: &'a PoolingCall,
    pool: &'a Pool,
    channels: Range<usize>,
    direction: Direction,
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
struct DirectWindow<'a, T: Packed, V, const FULL: bool, const PER_PLACE: bool> {
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

impl<T: Packed, V: Register<T>, const FULL: bool, const PER_PLACE: bool> Window<V>
    for DirectWindow<'_, T, V, FULL, PER_PLACE>
{
    const PER_PLACE: bool = PER_PLACE;

    #[inline(always)]
    fn places(&self) -> usize {
        self.offsets.len()
    }
    #[inline(always)]
    unsafe fn x(&self, p: usize) -> V {
        // SAFETY: `p` is a place, where all windows have their channels.
        unsafe {
            let x = self.x.offset(self.offsets.get_unchecked(p).0);
            <V as Lanes<T>>::load_from::<FULL>(x, self.n)
        }
    }
    #[inline(always)]
    unsafe fn w(&self, p: usize) -> V {
        if !PER_PLACE {
            return self.w;
        }
        // SAFETY: every place has all channels.
        unsafe { <V as Lanes<T::Acc>>::load_from::<FULL>(self.all_w.add(p * self.apart), self.n) }
    }
    #[inline(always)]
    fn memory(&self) -> *mut T::Acc {
        self.e
    }
    #[inline(always)]
    unsafe fn put_dx(&self, p: usize, dx: V) {
        if !self.dx.is_null() {
            // SAFETY: as for `x`.
            unsafe {
                let to = self.dx.offset(self.offsets.get_unchecked(p).1);
                <V as Lanes<T>>::store_to::<FULL>(dx, to, self.n);
            }
        }
    }
    #[inline(always)]
    unsafe fn put_dw(&self, p: usize, dw: V) {
        // SAFETY: every place has whole registers.
        unsafe {
            let sum = self.dw.add(p * self.dw_apart);
            V::load(sum).add(dw).store(sum);
        }
    }
}

impl<'a, T: Packed> DirectPooling<'a, T> {
    pub fn new(unit: &PoolingUnit<'a, T::Acc>) -> Self {
        let (call, pool) = (unit.call, &unit.call.pool);
        let offsets = (0..pool.places()).map(|p| {
            let at = pool.place(p);
            (call.x.place(at), call.dx.as_ref().map_or(0, |dx| dx.place(at)))
        });
        let backward = unit.direction == Direction::Backward;
        let lanes = unit.channels.len().next_multiple_of(MAX_LANES);
        DirectPooling {
            call,
            pool,
            channels: unit.channels.clone(),
            direction: unit.direction,
            w: unit.w,
            offsets: offsets.collect(),
            e: vec![T::Acc::ZERO; pool.places() * MAX_LANES],
            dw: vec![T::Acc::ZERO; if backward { pool.weights() * lanes } else { 0 }],
        }
    }

    /// Outputs of a tile, or gradients, of which that of w is added to `sums`.
    ///
    /// # Safety
    /// The memory of the call is what it says, and the tile is one of the unit's.
    #[inline(always)]
    pub unsafe fn run<I: Isa>(&mut self, tile: &Tile, sums: &mut [T::Acc]) {
        // SAFETY: the caller's.
        unsafe {
            match (self.pool.places(), self.pool.per_place) {
                (4, false) => self.run_as::<I, 4, false>(tile),
                (_, false) => self.run_as::<I, 0, false>(tile),
                (_, true) => self.run_as::<I, 0, true>(tile),
            }
        }
        if self.direction == Direction::Backward {
            self.add_up(sums);
        }
    }

    /// # Safety
    /// As for [`DirectPooling::run`].
    #[inline(always)]
    unsafe fn run_as<I: Isa, const K: usize, const PER_PLACE: bool>(&mut self, tile: &Tile) {
        let lanes = <T::Vector<I> as Vector>::LANES;
        let n = self.channels.len();
        let full = n - n % lanes;
        let start = |view: &ImageView, at: [usize; 2]| {
            let first = view.channel::<T>(self.pool, tile.image, self.channels.start);
            first.wrapping_offset(view.place(at))
        };
        for row in tile.rows.clone() {
            for column in 0..self.pool.output()[1] {
                let first = [row * self.pool.stride[0], column * self.pool.stride[1]];
                let dx = self.call.dx.as_ref();
                let at = Pointers {
                    x: start(&self.call.x, first),
                    dx: dx.map_or(std::ptr::null_mut(), |dx| start(dx, first)),
                    y: start(&self.call.y, [row, column]),
                };
                // SAFETY: the caller's.
                unsafe {
                    for c in (0..full).step_by(lanes) {
                        self.some::<I, K, PER_PLACE, true>(at, c, lanes);
                    }
                    if full < n {
                        self.some::<I, K, PER_PLACE, false>(at, full, n - full);
                    }
                }
            }
        }
    }

    /// `n` channels of a window, from the unit's `c`-th.
    ///
    /// # Safety
    /// The pointers are to a window of the call.
    #[inline(always)]
    unsafe fn some<I: Isa, const K: usize, const PER_PLACE: bool, const FULL: bool>(
        &self,
        at: Pointers<T>,
        c: usize,
        n: usize,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let all_w = self.w.as_ptr().add(self.channels.start + c);
            let window = DirectWindow::<T, T::Vector<I>, FULL, PER_PLACE> {
                x: at.x.add(c),
                dx: if at.dx.is_null() { at.dx } else { at.dx.add(c) },
                w: <T::Vector<I> as Lanes<T::Acc>>::load_from::<FULL>(all_w, n),
                all_w,
                apart: self.pool.channels,
                dw: self.dw.as_ptr().cast_mut().wrapping_add(c),
                dw_apart: self.channels.len().next_multiple_of(MAX_LANES),
                offsets: &self.offsets,
                e: self.e.as_ptr().cast_mut(),
                n,
            };
            let y = at.y.add(c);
            if self.direction == Direction::Forward {
                let output = window::output::<T::Vector<I>, _, K>(&window);
                <T::Vector<I> as Lanes<T>>::store_to::<FULL>(output, y, n);
            } else {
                let g = <T::Vector<I> as Lanes<T>>::load_from::<FULL>(y, n);
                window::gradients::<T::Vector<I>, _, K>(&window, g);
            }
        }
    }

    /// Add the tile's gradients of w to those of the unit.
    fn add_up(&mut self, sums: &mut [T::Acc]) {
        let n = self.channels.len();
        for (k, of_tile) in self.dw.chunks_exact_mut(n.next_multiple_of(MAX_LANES)).enumerate() {
            let apart = sums.len() / self.pool.weights();
            for (sum, of_tile) in sums[k * apart..].iter_mut().zip(&mut of_tile[..n]) {
                *sum = *sum + *of_tile;
                *of_tile = T::Acc::ZERO;
            }
        }
    }
}
