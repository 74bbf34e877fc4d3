//! Windows of any memory: their elements are moved into columns, where the lanes of a register are outputs.

use super::band::Band;
use super::call::PoolingCall;
use super::column_window::ColumnWindow;
use super::im2col::Im2col;
use super::plan::{PoolingPlan, PoolingUnit, Tile};
use super::repair::{self, WideTile};
use super::running::{self, Running};
use super::sizes::Pool;
use super::sums::WeightSums;
use super::window::{self, is_nan};
use crate::simd::{Float, Isa, MAX_LANES, Packed, Register};
use crate::tensor::dtype::Direction;
use crate::tensor::memory::{OutOfMemory, try_vec};
use std::ops::Range;

/// Some channels of images at work, with memory for one tile, and for a piece of its windows if they are large.
pub struct ColumnPooling<'a, T: Packed> {
    call: &'a PoolingCall,
    pool: &'a Pool,
    plan: &'a PoolingPlan,
    packed_w: &'a [T::Acc],
    im2col: Im2col<'a>,
    /// The windows' elements, which the backward replaces by their gradients.
    x: Vec<T::Acc>,
    w: Vec<T::Acc>,
    /// The outputs, or their gradients.
    y: Vec<T::Acc>,
    dw: Vec<T::Acc>,
    e: Vec<T::Acc>,
    /// Where windows overlap.
    band: Option<Band<T::Acc>>,
    /// Of each lane, if windows are in pieces.
    running: Vec<Running<T::Acc>>,
    wide: WideTile,
}

#[derive(Clone, Copy)]
enum Step {
    /// Of whole windows.
    Outputs,
    Gradients,
    Observe,
    GradientsOfPiece,
}

impl<'a, T: Packed> ColumnPooling<'a, T> {
    pub fn try_new(unit: &PoolingUnit<'a, T::Acc>) -> Result<Self, OutOfMemory> {
        let (call, pool, plan) = (unit.call, &unit.call.pool, unit.plan);
        let im2col = Im2col::new(call, plan, unit.channels.clone());
        let (pitch, weights) = (im2col.pitch, if pool.per_place { plan.piece } else { 1 });
        let zeros = |n: usize| try_vec(T::Acc::ZERO, n);
        let backward = unit.direction == Direction::Backward;
        let has_band = backward && pool.overlaps() && call.dx.is_some();
        let band = has_band.then(|| Band::try_new(pool, plan, unit.channels.len())).transpose()?;
        let running = if plan.is_whole(pool) { 0 } else { pitch };
        let mut this = ColumnPooling {
            call,
            pool,
            plan,
            packed_w: unit.w,
            x: zeros(plan.piece * pitch)?,
            w: zeros(weights * pitch)?,
            y: zeros(pitch)?,
            dw: zeros(if backward { weights * pitch } else { 0 })?,
            e: zeros(if backward { plan.piece * MAX_LANES } else { 0 })?,
            band,
            running: try_vec(Running::NONE, running)?,
            wide: WideTile::default(),
            im2col,
        };
        // SAFETY: who has made the call says that its memory is there.
        unsafe { this.spread_weights(0..weights) };
        Ok(this)
    }

    /// The w of each lane at some places.
    ///
    /// # Safety
    /// w is what the call says.
    unsafe fn spread_weights(&mut self, places: Range<usize>) {
        let (call, packed, channels) = (self.call, self.packed_w, self.pool.channels);
        let w = |k: usize, c: usize| match packed.get(k * channels + c) {
            Some(&w) => w,
            // SAFETY: the caller's.
            None => unsafe { *call.weight::<T>(&call.w, c, k) }.to_acc(),
        };
        self.im2col.spread(places, self.plan.tile, &mut self.w, w);
    }

    /// See all pieces of the tile's windows.
    ///
    /// # Safety
    /// As for [`ColumnPooling::forward`].
    #[inline(always)]
    unsafe fn observe<I: Isa>(&mut self, tile: &Tile) {
        self.running.fill(Running::NONE);
        for places in self.plan.pieces(self.pool) {
            // SAFETY: the caller's.
            unsafe {
                self.gather::<I>(tile, places.clone());
                self.compute::<T::Vector<I>>(tile, places.len(), Step::Observe);
            }
        }
    }

    /// # Safety
    /// The memory of the call is what it says, and the tile is one of the unit's.
    #[inline(always)]
    pub unsafe fn forward<I: Isa>(&mut self, tile: &Tile) {
        let (loops, y) = self.im2col.outputs::<T>(tile, &self.call.y);
        let places = self.pool.places();
        // SAFETY: the caller's; the columns have room for a tile.
        unsafe {
            let beyond = if self.plan.is_whole(self.pool) {
                self.gather::<I>(tile, 0..places);
                self.compute::<T::Vector<I>>(tile, places, Step::Outputs)
            } else {
                self.observe::<I>(tile);
                self.y.iter_mut().zip(&self.running).for_each(|(y, running)| *y = running.mean());
                true
            };
            if beyond {
                repair::outputs::<T>(self.call, &self.im2col, tile, &mut self.y);
            }
            loops.store::<T, T::Vector<I>>(self.y.as_ptr(), y);
        }
    }

    /// The gradients of a tile; that of w is added to `sums`, unless these are empty.
    ///
    /// # Safety
    /// As for [`ColumnPooling::forward`].
    #[inline(always)]
    pub unsafe fn backward<I: Isa>(&mut self, tile: &Tile, sums: &mut WeightSums<T::Acc>) {
        let (loops, g) = self.im2col.outputs::<T>(tile, &self.call.y);
        let is_whole = self.plan.is_whole(self.pool);
        let step = if is_whole { Step::Gradients } else { Step::GradientsOfPiece };
        // SAFETY: the caller's; the columns have room for a tile.
        unsafe {
            if !is_whole {
                self.observe::<I>(tile);
            }
            loops.load::<T, T::Vector<I>>(g, self.y.as_mut_ptr());
            for places in self.plan.pieces(self.pool) {
                self.gather::<I>(tile, places.clone());
                if self.compute::<T::Vector<I>>(tile, places.len(), step) {
                    let columns = [&mut self.x[..], &mut self.dw[..]];
                    let (call, im2col, places) = (self.call, &self.im2col, places.clone());
                    self.wide.gradients::<T>(call, im2col, tile, places, columns);
                }
                self.scatter::<I>(tile, places.clone());
                if !sums.is_empty() {
                    sums.add_lanes::<T::Vector<I>>(&self.im2col, tile, places, &self.dw);
                }
            }
        }
        self.wide = WideTile::default();
    }

    /// # Safety
    /// As for [`ColumnPooling::forward`].
    #[inline(always)]
    unsafe fn gather<I: Isa>(&mut self, tile: &Tile, places: Range<usize>) {
        let (x, columns) = (&self.call.x, self.x.as_mut_ptr());
        // SAFETY: the caller's.
        unsafe {
            self.im2col.gather::<T, T::Vector<I>>(tile, places.clone(), x, columns);
            if self.pool.per_place && !self.plan.is_whole(self.pool) {
                self.spread_weights(places);
            }
        }
    }

    /// # Safety
    /// As for [`ColumnPooling::forward`].
    #[inline(always)]
    unsafe fn scatter<I: Isa>(&mut self, tile: &Tile, places: Range<usize>) {
        let Some(dx) = &self.call.dx else { return };
        let (im2col, columns, end) = (&self.im2col, self.x.as_ptr(), places.end);
        // SAFETY: the caller's.
        unsafe {
            let Some(band) = &mut self.band else {
                return im2col.scatter::<T, T::Vector<I>>(tile, places, columns, dx);
            };
            band.add::<T::Vector<I>>(im2col, tile, places, columns);
            if end == self.pool.places() && tile.columns.end == self.pool.output()[1] {
                band.store::<T, T::Vector<I>>(im2col, tile, dx);
            }
        }
    }

    /// A step with the columns of some places; whether something was too large to be computed.
    ///
    /// # Safety
    /// The columns hold these places of the tile.
    #[inline(always)]
    unsafe fn compute<V: Register<T>>(&mut self, tile: &Tile, places: usize, step: Step) -> bool {
        let n = self.im2col.lanes(tile);
        // SAFETY: the caller's.
        unsafe {
            match (places, self.pool.per_place) {
                (4, false) => self.compute_as::<V, 4, false>(n, places, step),
                (_, false) => self.compute_as::<V, 0, false>(n, places, step),
                (_, true) => self.compute_as::<V, 0, true>(n, places, step),
            }
        }
    }

    /// # Safety
    /// The columns hold `n` lanes of these places, of which there are `K` unless `K` is 0.
    #[inline(always)]
    unsafe fn compute_as<V: Register<T>, const K: usize, const PER_PLACE: bool>(
        &mut self,
        n: usize,
        places: usize,
        step: Step,
    ) -> bool {
        let mut check = V::splat(T::Acc::ZERO);
        for at in (0..n).step_by(V::LANES) {
            let window = ColumnWindow::<T::Acc, PER_PLACE> {
                pitch: self.im2col.pitch,
                places,
                x: self.x.as_mut_ptr().wrapping_add(at),
                w: self.w.as_ptr().wrapping_add(at),
                dw: self.dw.as_mut_ptr().wrapping_add(at),
                e: self.e.as_mut_ptr(),
            };
            // SAFETY: the columns have whole registers.
            unsafe {
                let y = self.y.as_mut_ptr().add(at);
                check = match step {
                    Step::Outputs => {
                        let (output, check) = window::output::<V, _, K>(&window, check);
                        output.store(y);
                        check
                    }
                    Step::Gradients => window::gradients::<V, _, K>(&window, V::load(y), check),
                    Step::Observe => {
                        running::observe::<V, _>(&window, &mut self.running[at..][..V::LANES]);
                        check
                    }
                    Step::GradientsOfPiece => {
                        let running = &self.running[at..][..V::LANES];
                        running::gradients::<V, _>(&window, running, V::load(y), check)
                    }
                };
            }
        }
        is_nan(check)
    }
}
