//! What one thread does at a time: some channels of some images, tile by tile.

use super::movers::Loops;
use super::plan::Plan;
use super::{Call, columns, direct};
use crate::simd::Packed;
use crate::simd::{Isa, Task};
use crate::tensor::dtype::Direction;
use std::ops::Range;

pub struct Unit<'a, T: Packed> {
    pub call: &'a Call,
    pub plan: &'a Plan,
    /// (place, channel), or one number a channel.
    pub w: &'a [T::Acc],
    pub direction: Direction,
    pub number: usize,
    /// Of the gradient of w, if it is wanted: (place, channel of the unit).
    pub sums: &'a mut [T::Acc],
}

/// Rows of outputs of an image.
pub struct Tile {
    pub image: usize,
    pub rows: Range<usize>,
}

impl<T: Packed> Task for Unit<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let [channels, images] = self.plan.unit(&self.call.pool, self.number);
        if self.plan.channels_last && direct::is_possible(self.call, self.direction) {
            let mut direct = direct::Worker::<T>::new(&self, channels);
            for image in images {
                self.clear_uncovered(&direct.channels, image);
                for tile in self.tiles(image) {
                    direct.run::<I>(&tile, self.direction, self.sums);
                }
            }
            return;
        }
        let mut worker = columns::Worker::<T>::new(&self, channels);
        for image in images {
            self.clear_uncovered(&worker.channels, image);
            for tile in self.tiles(image) {
                match self.direction {
                    Direction::Forward => worker.forward::<I>(&tile),
                    Direction::Backward => worker.backward::<I>(&tile, self.sums),
                }
            }
            worker.finish_gradient::<I>(image);
        }
    }
}

impl<'a, T: Packed> Unit<'a, T> {
    /// What no window covers has a gradient of zero.
    #[inline(always)]
    unsafe fn clear_uncovered(&self, channels: &Range<usize>, image: usize) {
        let (pool, channels_last) = (&self.call.pool, self.plan.channels_last);
        if let Some(maps) = &self.call.dx
            && !pool.overlaps()
            && !pool.covers()
        {
            let start = maps.image::<T>(pool, image);
            let start = start.offset(channels.start as isize * maps.strides[0]);
            Loops::of_image(pool, channels.len(), channels_last, maps).clear(start);
        }
    }

    fn tiles(&self, image: usize) -> impl Iterator<Item = Tile> + use<T> {
        let (height, rows) = (self.call.pool.output()[0], self.plan.rows);
        let ends = move |first: usize| (first + rows).min(height);
        (0..height).step_by(rows).map(move |first| Tile { image, rows: first..ends(first) })
    }
}
