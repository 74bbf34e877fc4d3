//! How columns are filled from images, and gradients brought back.

use super::Maps;
use super::columns::Worker;
use super::movers::{self, Loops};
use super::unit::Tile;
use crate::simd::Isa;
use crate::simd::{Float, Packed};

impl<'a, T: Packed> Worker<'a, T> {
    /// The part of the outputs that the tile has.
    pub unsafe fn outputs(&self, tile: &Tile) -> (Loops, *mut T) {
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
    pub unsafe fn gather<I: Isa>(&mut self, tile: &Tile) {
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
    pub unsafe fn scatter<I: Isa>(&mut self, tile: &Tile) {
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
        Loops::of_image(self.pool, self.channels.len(), self.plan.channels_last, maps)
    }

    #[inline(always)]
    pub unsafe fn finish_gradient<I: Isa>(&mut self, image: usize) {
        let Some(maps) = &self.call.dx else { return };
        if self.pool.overlaps() {
            let to = self.channels_of(maps, image);
            self.whole_image(maps).store::<T, T::Vector<I>>(self.dx.as_ptr(), to);
            self.dx.fill(T::Acc::ZERO);
        }
    }
}
