//! Windows as columns, one row of memory a place and one lane an output, and gradients brought back.

use super::call::{ImageView, PoolingCall};
use super::copy::{self, Loops};
use super::pairs;
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
        let lanes = channels.len() * plan.tile[0] * plan.tile[1];
        let pitch = lanes.next_multiple_of(MAX_LANES) + MAX_LANES;
        Im2col { pool: &call.pool, channels_last: plan.channels_last, channels, pitch }
    }

    pub fn lanes(&self, tile: &Tile) -> usize {
        self.channels.len() * self.outputs_of_channel(tile)
    }

    pub fn outputs_of_channel(&self, tile: &Tile) -> usize {
        tile.rows.len() * tile.columns.len()
    }

    /// Channel, row and column of a lane.
    pub fn output_of(&self, tile: &Tile, lane: usize) -> (usize, [usize; 2]) {
        let (channels, each) = (self.channels.len(), self.outputs_of_channel(tile));
        let (c, i) = match self.channels_last {
            true => (lane % channels, lane / channels),
            false => (lane / each, lane % each),
        };
        let (row, column) = (i / tile.columns.len(), i % tile.columns.len());
        (self.channels.start + c, [tile.rows.start + row, tile.columns.start + column])
    }

    /// Give each lane of a full tile the number of its channel, at each of the places.
    pub fn spread<A: Float>(
        &self,
        places: Range<usize>,
        [rows, columns]: [usize; 2],
        to: &mut [A],
        number: impl Fn(usize, usize) -> A,
    ) {
        let (n, each) = (self.channels.len(), rows * columns);
        for (k, row) in places.zip(to.chunks_exact_mut(self.pitch)) {
            for (c, channel) in self.channels.clone().enumerate() {
                let number = number(k, channel);
                match self.channels_last {
                    true => row[c..n * each].iter_mut().step_by(n).for_each(|to| *to = number),
                    false => row[c * each..][..each].fill(number),
                }
            }
        }
    }

    /// The part of the outputs, or of their gradients, that the tile has.
    pub fn outputs<T>(&self, tile: &Tile, y: &ImageView) -> (Loops, *mut T) {
        let sizes = [self.channels.len(), tile.rows.len(), tile.columns.len()];
        let first = y.place([tile.rows.start, tile.columns.start]);
        let start = self.start::<T>(y, tile.image).wrapping_offset(first);
        (Loops::new(self.channels_last, sizes, y.strides), start)
    }

    /// Loops over the elements that the tile's windows have at one place, of an array with such strides,
    /// and the offsets of places from those of the first one.
    pub fn windows(
        &self,
        tile: &Tile,
        strides: [isize; 3],
        places: Range<usize>,
    ) -> (Loops, impl Iterator<Item = isize>) {
        let [down, right] = self.pool.stride.map(|s| s as isize);
        let sizes = [self.channels.len(), tile.rows.len(), tile.columns.len()];
        let apart = [strides[0], down * strides[1], right * strides[2]];
        let offsets = copy::offsets(places, self.pool.kernel[1], [strides[1], strides[2]]);
        (Loops::new(self.channels_last, sizes, apart), offsets)
    }

    /// The first element of the tile's first window.
    fn corner<T>(&self, view: &ImageView, tile: &Tile) -> *mut T {
        let [down, right] = self.pool.stride;
        let corner = view.place([tile.rows.start * down, tile.columns.start * right]);
        self.start::<T>(view, tile.image).wrapping_offset(corner)
    }

    /// The first of the channels of an image.
    pub fn start<T>(&self, view: &ImageView, image: usize) -> *mut T {
        view.channel(self.pool, image, self.channels.start)
    }

    /// Whether windows are two columns wide and apart, those lying side by side in memory, and whole.
    fn in_pairs(&self, view: &ImageView, places: &Range<usize>) -> bool {
        let is_pair = self.pool.kernel[1] == 2 && self.pool.stride[1] == 2;
        let is_whole = places.len() == self.pool.places();
        is_pair && is_whole && view.strides[2] == 1 && !self.channels_last
    }

    /// Each row of pairs: where it is in memory from the tile's corner on, and where among the columns its
    /// even elements are.
    fn pairs(&self, tile: &Tile, view: &ImageView) -> impl Iterator<Item = (isize, usize)> + use<> {
        let (count, width, pitch) = (tile.rows.len(), tile.columns.len(), self.pitch);
        let ([high, _], [down, _]) = (self.pool.kernel, self.pool.stride);
        let [channel, row, _] = view.strides;
        (0..self.channels.len() * count * high).map(move |n| {
            let (at, i) = (n / high, n % high);
            let (c, r) = (at / count, at % count);
            let offset = c as isize * channel + (r * down + i) as isize * row;
            (offset, 2 * i * pitch + at * width)
        })
    }

    /// Move the elements that the tile's windows have at some places into columns.
    ///
    /// # Safety
    /// `x` is images of these sizes, and `columns` has `pitch` numbers for each of the places.
    #[inline(always)]
    pub unsafe fn gather<T: Packed, V: Register<T>>(
        &self,
        tile: &Tile,
        places: Range<usize>,
        x: &ImageView,
        columns: *mut T::Acc,
    ) {
        let (from, n) = (self.corner::<T>(x, tile), tile.columns.len());
        // SAFETY: the caller's.
        unsafe {
            if self.in_pairs(x, &places) {
                for (offset, at) in self.pairs(tile, x) {
                    let (even, odd) = (columns.add(at), columns.add(at + self.pitch));
                    pairs::load::<T, V>(from.offset(offset), n, even, odd);
                }
                return;
            }
            let (loops, offsets) = self.windows(tile, x.strides, places);
            for (p, offset) in offsets.enumerate() {
                loops.load::<T, V>(from.offset(offset), columns.add(p * self.pitch));
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
        places: Range<usize>,
        columns: *const T::Acc,
        dx: &ImageView,
    ) {
        let (to, n) = (self.corner::<T>(dx, tile), tile.columns.len());
        // SAFETY: the caller's.
        unsafe {
            if self.in_pairs(dx, &places) {
                for (offset, at) in self.pairs(tile, dx) {
                    let (even, odd) = (columns.add(at), columns.add(at + self.pitch));
                    pairs::store::<T, V>(even, odd, n, to.offset(offset));
                }
                return;
            }
            let (loops, offsets) = self.windows(tile, dx.strides, places);
            for (p, offset) in offsets.enumerate() {
                loops.store::<T, V>(columns.add(p * self.pitch), to.offset(offset));
            }
        }
    }
}
