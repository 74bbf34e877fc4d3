//! Windows as columns, one row of memory a place and one lane an output, and gradients brought back.

use super::call::{ImageView, PoolingCall};
use super::copy::{self, Loops};
use super::plan::{PoolingPlan, Tile};
use super::sizes::Pool;
use crate::simd::{Float, MAX_LANES, Packed, Register};
use std::ops::Range;

/// How the windows of some channels lie in columns.
pub struct Im2col<'a> {
    pub pool: &'a Pool,
    pub channels_last: bool,
    pub channels: Range<usize>,
    /// From the lanes of one place to those of the next. Registers are whole: so much more room there is
    /// behind the last lane.
    pub pitch: usize,
}

impl<'a> Im2col<'a> {
    pub fn new(call: &'a PoolingCall, plan: &PoolingPlan, channels: Range<usize>) -> Self {
        let lanes = channels.len() * plan.rows * call.pool.output()[1];
        let pitch = lanes.next_multiple_of(MAX_LANES) + MAX_LANES;
        Im2col { pool: &call.pool, channels_last: plan.channels_last, channels, pitch }
    }

    pub fn lanes(&self, tile: &Tile) -> usize {
        self.channels.len() * self.outputs_of_channel(tile)
    }

    pub fn outputs_of_channel(&self, tile: &Tile) -> usize {
        tile.rows.len() * self.pool.output()[1]
    }

    /// The part of the outputs, or of their gradients, that the tile has.
    pub fn outputs<T>(&self, tile: &Tile, y: &ImageView) -> (Loops, *mut T) {
        let sizes = [self.channels.len(), tile.rows.len(), self.pool.output()[1]];
        let start = self.start::<T>(y, tile.image).wrapping_offset(y.place([tile.rows.start, 0]));
        (Loops::new(self.channels_last, sizes, y.strides), start)
    }

    /// Loops over the elements that the tile's windows have at one place, of an array with such strides,
    /// and their offset at the place `(0, 0)`.
    fn windows(&self, tile: &Tile, strides: [isize; 3]) -> (Loops, isize) {
        let [down, right] = self.pool.stride.map(|s| s as isize);
        let sizes = [self.channels.len(), tile.rows.len(), self.pool.output()[1]];
        let apart = [strides[0], down * strides[1], right * strides[2]];
        (Loops::new(self.channels_last, sizes, apart), tile.rows.start as isize * apart[1])
    }

    fn places(&self, strides: [isize; 3]) -> impl Iterator<Item = (usize, isize)> + use<'a> {
        let [height, width] = self.pool.kernel;
        (0..height * width).map(move |p| {
            let (i, j) = ((p / width) as isize, (p % width) as isize);
            (p, i * strides[1] + j * strides[2])
        })
    }

    fn start<T>(&self, view: &ImageView, image: usize) -> *mut T {
        view.channel(self.pool, image, self.channels.start)
    }

    /// Whether windows are two columns wide and apart, those lying side by side in memory.
    fn in_pairs(&self, view: &ImageView) -> bool {
        let is_pair = self.pool.kernel[1] == 2 && self.pool.stride[1] == 2;
        is_pair && view.strides[2] == 1 && !self.channels_last
    }

    /// Each row of pairs: where it is in memory, and where among the columns its even elements are.
    fn pairs(&self, tile: &Tile, view: &ImageView) -> impl Iterator<Item = (isize, usize)> + use<> {
        let (rows, width, pitch) = (tile.rows.clone(), self.pool.output()[1], self.pitch);
        let ([high, _], [down, _]) = (self.pool.kernel, self.pool.stride);
        let [channel, row, _] = view.strides;
        let (count, channels) = (rows.len(), self.channels.len());
        (0..channels * count * high).map(move |n| {
            let (at, i) = (n / high, n % high);
            let (c, r) = (at / count, at % count);
            let y = (rows.start + r) * down + i;
            (c as isize * channel + y as isize * row, 2 * i * pitch + at * width)
        })
    }

    /// Move the elements of the tile's windows into columns.
    ///
    /// # Safety
    /// `x` is images of these sizes, and `columns` has `pitch` numbers for each place.
    #[inline(always)]
    pub unsafe fn gather<T: Packed, V: Register<T>>(
        &self,
        tile: &Tile,
        x: &ImageView,
        columns: *mut T::Acc,
    ) {
        let (from, n) = (self.start::<T>(x, tile.image), self.pool.output()[1]);
        // SAFETY: the caller's.
        unsafe {
            if self.in_pairs(x) {
                for (offset, at) in self.pairs(tile, x) {
                    let (even, odd) = (columns.add(at), columns.add(at + self.pitch));
                    copy::load_pairs::<T, V>(from.offset(offset), n, even, odd);
                }
                return;
            }
            let (loops, start) = self.windows(tile, x.strides);
            for (p, offset) in self.places(x.strides) {
                loops.load::<T, V>(from.offset(start + offset), columns.add(p * self.pitch));
            }
        }
    }

    /// Move the gradients in columns to where the elements came from; no two windows have one in common.
    ///
    /// # Safety
    /// As for [`Im2col::gather`].
    #[inline(always)]
    pub unsafe fn scatter<T: Packed, V: Register<T>>(
        &self,
        tile: &Tile,
        columns: *const T::Acc,
        dx: &ImageView,
    ) {
        let (to, n) = (self.start::<T>(dx, tile.image), self.pool.output()[1]);
        // SAFETY: the caller's.
        unsafe {
            if self.in_pairs(dx) {
                for (offset, at) in self.pairs(tile, dx) {
                    let (even, odd) = (columns.add(at), columns.add(at + self.pitch));
                    copy::store_pairs::<T, V>(even, odd, n, to.offset(offset));
                }
                return;
            }
            let (loops, start) = self.windows(tile, dx.strides);
            for (p, offset) in self.places(dx.strides) {
                loops.store::<T, V>(columns.add(p * self.pitch), to.offset(start + offset));
            }
        }
    }

    /// Add the gradients in columns to a dense image's.
    ///
    /// # Safety
    /// As for [`Im2col::gather`], and `dense` has the unit's channels of an image.
    #[inline(always)]
    pub unsafe fn scatter_add<A: Float>(&self, tile: &Tile, columns: *const A, dense: *mut A) {
        let [height, width] = self.pool.image.map(|n| n as isize);
        let channels = self.channels.len() as isize;
        let strides = match self.channels_last {
            true => [1, width * channels, channels],
            false => [height * width, width, 1],
        };
        let (loops, start) = self.windows(tile, strides);
        for (p, offset) in self.places(strides) {
            // SAFETY: the caller's.
            unsafe { loops.add(columns.add(p * self.pitch), dense.offset(start + offset)) };
        }
    }

    /// Store the dense gradient of an image.
    ///
    /// # Safety
    /// `dx` is images of these sizes, and `dense` has the unit's channels of one.
    #[inline(always)]
    pub unsafe fn store_image<T: Packed, V: Register<T>>(
        &self,
        image: usize,
        dense: *const T::Acc,
        dx: &ImageView,
    ) {
        let loops = Loops::of_image(self.pool, self.channels.len(), self.channels_last, dx);
        // SAFETY: the caller's.
        unsafe { loops.store::<T, V>(dense, self.start(dx, image)) };
    }
}
