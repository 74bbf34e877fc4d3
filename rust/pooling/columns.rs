//! Windows of any memory: their elements are moved into columns, where the lanes of a register are outputs.

use super::copy;
use super::im2col::Im2col;
use super::plan::{PoolingPlan, PoolingUnit, Tile};
use super::window::{self, Window};
use super::{call::PoolingCall, sizes::Pool};
use crate::simd::{Float, Isa, MAX_LANES, Packed, Register, Vector};
use crate::tensor::dtype::Direction;

/// Some channels of images at work, with memory for one tile.
pub struct ColumnPooling<'a, T: Packed> {
    call: &'a PoolingCall,
    pool: &'a Pool,
    im2col: Im2col<'a>,
    /// The windows' elements, which the backward replaces by their gradients.
    x: Vec<T::Acc>,
    w: Vec<T::Acc>,
    /// The outputs, or their gradients.
    y: Vec<T::Acc>,
    dw: Vec<T::Acc>,
    e: Vec<T::Acc>,
    /// The gradient of an image, where windows overlap.
    dx: Vec<T::Acc>,
}

/// A register of lanes.
struct ColumnWindow<A, const PER_PLACE: bool> {
    pitch: usize,
    places: usize,
    x: *mut A,
    w: *const A,
    dw: *mut A,
    e: *mut A,
}

impl<V: Vector, const PER_PLACE: bool> Window<V> for ColumnWindow<V::Scalar, PER_PLACE> {
    const PER_PLACE: bool = PER_PLACE;

    #[inline(always)]
    fn places(&self) -> usize {
        self.places
    }
    #[inline(always)]
    unsafe fn x(&self, p: usize) -> V {
        // SAFETY: every place has a row of whole registers; so below.
        unsafe { V::load(self.x.add(p * self.pitch)) }
    }
    #[inline(always)]
    unsafe fn w(&self, p: usize) -> V {
        // SAFETY: as above.
        unsafe { V::load(if PER_PLACE { self.w.add(p * self.pitch) } else { self.w }) }
    }
    #[inline(always)]
    fn memory(&self) -> *mut V::Scalar {
        self.e
    }
    #[inline(always)]
    unsafe fn put_dx(&self, p: usize, dx: V) {
        // SAFETY: as above.
        unsafe { dx.store(self.x.add(p * self.pitch)) }
    }
    #[inline(always)]
    unsafe fn put_dw(&self, p: usize, dw: V) {
        // SAFETY: as above.
        unsafe { dw.store(self.dw.add(p * self.pitch)) }
    }
}

impl<'a, T: Packed> ColumnPooling<'a, T> {
    pub fn new(unit: &PoolingUnit<'a, T::Acc>) -> Self {
        let (call, pool) = (unit.call, &unit.call.pool);
        let im2col = Im2col::new(call, unit.plan, unit.channels.clone());
        let (places, weights, pitch) = (pool.places(), pool.weights(), im2col.pitch);
        let zeros = |n: usize| vec![T::Acc::ZERO; n];
        let backward = unit.direction == Direction::Backward;
        let image = unit.channels.len() * pool.image[0] * pool.image[1];
        let has_dx = backward && pool.overlaps() && call.dx.is_some();
        let mut this = ColumnPooling {
            call,
            pool,
            im2col,
            x: zeros(places * pitch),
            w: zeros(weights * pitch),
            y: zeros(pitch),
            dw: zeros(if backward { weights * pitch } else { 0 }),
            e: zeros(if backward { places * MAX_LANES } else { 0 }),
            dx: zeros(if has_dx { image } else { 0 }),
        };
        this.spread_weights(unit.w, unit.plan);
        this
    }

    /// The w of each lane.
    fn spread_weights(&mut self, w: &[T::Acc], plan: &PoolingPlan) {
        let (channels, pitch) = (self.im2col.channels.clone(), self.im2col.pitch);
        let each = plan.rows * self.pool.output()[1];
        for (k, row) in self.w.chunks_exact_mut(pitch).enumerate() {
            let w = &w[k * self.pool.channels..][channels.clone()];
            for (lane, to) in row[..channels.len() * each].iter_mut().enumerate() {
                *to = w[if plan.channels_last { lane % channels.len() } else { lane / each }];
            }
        }
    }

    /// # Safety
    /// The memory of the call is what it says, and the tile is one of the unit's.
    #[inline(always)]
    pub unsafe fn forward<I: Isa>(&mut self, tile: &Tile) {
        let (loops, y) = self.im2col.outputs::<T>(tile, &self.call.y);
        // SAFETY: the caller's; the columns have room for a tile.
        unsafe {
            self.im2col.gather::<T, T::Vector<I>>(tile, &self.call.x, self.x.as_mut_ptr());
            self.compute::<T::Vector<I>>(tile, Direction::Forward);
            loops.store::<T, T::Vector<I>>(self.y.as_ptr(), y);
        }
    }

    /// The gradients of a tile; that of w is added to `sums`, unless these are empty.
    ///
    /// # Safety
    /// As for [`ColumnPooling::forward`].
    #[inline(always)]
    pub unsafe fn backward<I: Isa>(&mut self, tile: &Tile, sums: &mut [T::Acc]) {
        let (loops, g) = self.im2col.outputs::<T>(tile, &self.call.y);
        // SAFETY: the caller's; the columns have room for a tile.
        unsafe {
            self.im2col.gather::<T, T::Vector<I>>(tile, &self.call.x, self.x.as_mut_ptr());
            loops.load::<T, T::Vector<I>>(g, self.y.as_mut_ptr());
            self.compute::<T::Vector<I>>(tile, Direction::Backward);
            let columns = self.x.as_ptr();
            match &self.call.dx {
                Some(_) if self.pool.overlaps() => {
                    self.im2col.scatter_add(tile, columns, self.dx.as_mut_ptr());
                }
                Some(dx) => self.im2col.scatter::<T, T::Vector<I>>(tile, columns, dx),
                None => {}
            }
            if !sums.is_empty() {
                self.add_up::<T::Vector<I>>(tile, sums);
            }
        }
    }

    /// All tiles of an image have been done: what overlapping windows have added up is stored.
    ///
    /// # Safety
    /// As for [`ColumnPooling::forward`].
    #[inline(always)]
    pub unsafe fn finish_image<I: Isa>(&mut self, image: usize) {
        if let Some(dx) = &self.call.dx
            && self.pool.overlaps()
        {
            // SAFETY: the caller's.
            unsafe { self.im2col.store_image::<T, T::Vector<I>>(image, self.dx.as_ptr(), dx) };
            self.dx.fill(T::Acc::ZERO);
        }
    }

    /// # Safety
    /// The columns hold the tile.
    #[inline(always)]
    unsafe fn compute<V: Vector<Scalar = T::Acc>>(&mut self, tile: &Tile, direction: Direction) {
        // SAFETY: the caller's.
        unsafe {
            match (self.pool.places(), self.pool.per_place) {
                (4, false) => self.compute_as::<V, 4, false>(tile, direction),
                (_, false) => self.compute_as::<V, 0, false>(tile, direction),
                (_, true) => self.compute_as::<V, 0, true>(tile, direction),
            }
        }
    }

    /// # Safety
    /// The columns hold the tile.
    #[inline(always)]
    unsafe fn compute_as<V: Vector<Scalar = T::Acc>, const K: usize, const PER_PLACE: bool>(
        &mut self,
        tile: &Tile,
        direction: Direction,
    ) {
        for at in (0..self.im2col.lanes(tile)).step_by(V::LANES) {
            // SAFETY: the columns have whole registers.
            unsafe {
                let y = self.y.as_mut_ptr().add(at);
                let window = ColumnWindow::<V::Scalar, PER_PLACE> {
                    pitch: self.im2col.pitch,
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
    }

    /// Add the tile's gradients of w to those of the unit.
    ///
    /// # Safety
    /// They have been computed.
    #[inline(always)]
    unsafe fn add_up<V: Register<T>>(&self, tile: &Tile, sums: &mut [T::Acc]) {
        let each = self.im2col.outputs_of_channel(tile);
        let apart = sums.len() / self.pool.weights();
        let (channels, last) = (self.im2col.channels.len(), self.im2col.channels_last);
        for k in 0..self.pool.weights() {
            for c in 0..channels {
                let first = k * self.im2col.pitch + if last { c } else { c * each };
                // SAFETY: a channel has so many lanes.
                let sum = unsafe {
                    let lanes = self.dw.as_ptr().add(first);
                    match last {
                        true => copy::strided_sum(lanes, each, channels),
                        false => copy::sum::<V>(lanes, each),
                    }
                };
                sums[k * apart + c] = sums[k * apart + c] + sum;
            }
        }
    }
}
