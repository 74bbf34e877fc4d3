//! Channels-last images: the lanes of a register are channels, which are read and written where they lie.

use super::call::{ImageView, PoolingCall};
use super::direct_window::DirectWindow;
use super::plan::{PoolingPlan, PoolingUnit, Tile};
use super::sizes::Pool;
use super::sums::WeightSums;
use super::window::{self, PART, is_nan};
use crate::simd::{Float, Isa, Lanes, MAX_LANES, Packed, Vector};
use crate::tensor::dtype::Direction;
use crate::tensor::memory::{OutOfMemory, try_vec};
use std::ops::Range;
use std::ptr::null_mut;

/// Whether windows are whole, all memory has its channels side by side, and no two windows write to one
/// element of dx.
pub fn is_possible(call: &PoolingCall, plan: &PoolingPlan, direction: Direction) -> bool {
    let adjacent = [Some(&call.x), Some(&call.y), call.dx.as_ref()];
    (plan.channels_last && plan.is_whole(&call.pool))
        && adjacent.into_iter().flatten().all(|view| view.strides[0] == 1)
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
    /// (place, channel of the unit), of [`PART`] windows.
    dw: Vec<T::Acc>,
}

/// The first channel of a window, of its gradient (or null) and of its output.
#[derive(Clone, Copy)]
struct Pointers<T> {
    x: *const T,
    dx: *mut T,
    y: *mut T,
}

impl<'a, T: Packed> DirectPooling<'a, T> {
    pub fn try_new(unit: &PoolingUnit<'a, T::Acc>) -> Result<Self, OutOfMemory> {
        let (call, pool) = (unit.call, &unit.call.pool);
        let mut offsets = try_vec((0, 0), pool.places())?;
        for (p, offsets) in offsets.iter_mut().enumerate() {
            let at = pool.place(p);
            *offsets = (call.x.place(at), call.dx.as_ref().map_or(0, |dx| dx.place(at)));
        }
        let backward = unit.direction == Direction::Backward;
        let lanes = unit.channels.len().next_multiple_of(MAX_LANES);
        Ok(DirectPooling {
            call,
            pool,
            channels: unit.channels.clone(),
            direction: unit.direction,
            w: unit.w,
            offsets,
            e: try_vec(T::Acc::ZERO, if backward { pool.places() * MAX_LANES } else { 0 })?,
            dw: try_vec(T::Acc::ZERO, if backward { pool.weights() * lanes } else { 0 })?,
        })
    }

    /// Outputs of a tile, or gradients, of which that of w is added to `sums`; whether something was too
    /// large to be computed.
    ///
    /// # Safety
    /// The memory of the call is what it says, and the tile is one of the unit's.
    #[inline(always)]
    pub unsafe fn run<I: Isa>(&mut self, tile: &Tile, sums: &mut WeightSums<T::Acc>) -> bool {
        // SAFETY: the caller's.
        let beyond = unsafe {
            match (self.pool.places(), self.pool.per_place) {
                (4, false) => self.run_as::<I, 4, false>(tile, sums),
                (_, false) => self.run_as::<I, 0, false>(tile, sums),
                (_, true) => self.run_as::<I, 0, true>(tile, sums),
            }
        };
        self.add_up(sums);
        beyond
    }

    /// # Safety
    /// As for [`DirectPooling::run`].
    #[inline(always)]
    unsafe fn run_as<I: Isa, const K: usize, const PER_PLACE: bool>(
        &mut self,
        tile: &Tile,
        sums: &mut WeightSums<T::Acc>,
    ) -> bool {
        let lanes = <T::Vector<I> as Vector>::LANES;
        let n = self.channels.len();
        let full = n - n % lanes;
        let mut check = T::Vector::<I>::splat(T::Acc::ZERO);
        let (is_backward, mut windows) = (self.direction == Direction::Backward, 0);
        let right = self.pool.stride[1] as isize;
        let [x_step, y_step] = [self.call.x.strides[2] * right, self.call.y.strides[2]];
        let dx_step = self.call.dx.as_ref().map_or(0, |dx| dx.strides[2] * right);
        for row in tile.rows.clone() {
            let corner = [row * self.pool.stride[0], tile.columns.start * self.pool.stride[1]];
            let mut at = Pointers {
                x: self.start(&self.call.x, tile, corner),
                dx: self.call.dx.as_ref().map_or(null_mut(), |dx| self.start(dx, tile, corner)),
                y: self.start(&self.call.y, tile, [row, tile.columns.start]),
            };
            for _ in tile.columns.clone() {
                // SAFETY: the caller's.
                unsafe {
                    for c in (0..full).step_by(lanes) {
                        check = self.some::<I, K, PER_PLACE, true>(at, c, lanes, check);
                    }
                    if full < n {
                        check = self.some::<I, K, PER_PLACE, false>(at, full, n - full, check);
                    }
                }
                at.x = at.x.wrapping_offset(x_step);
                at.dx = at.dx.wrapping_offset(dx_step);
                at.y = at.y.wrapping_offset(y_step);
                if is_backward {
                    windows += 1;
                    if windows == PART {
                        self.add_up(sums);
                        windows = 0;
                    }
                }
            }
        }
        is_nan(check)
    }

    /// The unit's first channel of a row and column.
    fn start(&self, view: &ImageView, tile: &Tile, at: [usize; 2]) -> *mut T {
        let image = view.channel::<T>(self.pool, tile.image, self.channels.start);
        image.wrapping_offset(view.place(at))
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
        check: T::Vector<I>,
    ) -> T::Vector<I> {
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
                let (output, check) = window::output::<T::Vector<I>, _, K>(&window, check);
                <T::Vector<I> as Lanes<T>>::store_to::<FULL>(output, y, n);
                check
            } else {
                let g = <T::Vector<I> as Lanes<T>>::load_from::<FULL>(y, n);
                window::gradients::<T::Vector<I>, _, K>(&window, g, check)
            }
        }
    }

    /// Add the gradients of w of some windows to those of the unit.
    #[inline(always)]
    fn add_up(&mut self, sums: &mut WeightSums<T::Acc>) {
        let n = self.channels.len();
        for (k, dw) in self.dw.chunks_exact_mut(n.next_multiple_of(MAX_LANES)).enumerate() {
            if !sums.is_empty() {
                sums.add(k, 0, &dw[..n]);
            }
            dw.fill(T::Acc::ZERO);
        }
    }
}
