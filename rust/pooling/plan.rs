//! How the work of a pooling is cut: into units for threads, and those into tiles that fit the cache.

use super::call::PoolingCall;
use super::sizes::Pool;
use crate::simd::MAX_LANES;
use crate::tensor::dtype::Direction;
use std::ops::Range;

/// Numbers in a tile's columns.
const TILE: usize = 4096;
/// Enough units to share among threads. Each has sums of its own for the gradient of w.
const UNITS: usize = 64;

/// A unit is some channels of some images; a tile some rows of outputs of one of them.
#[derive(Clone, Copy)]
pub struct PoolingPlan {
    /// Whether a tile's channels are innermost.
    pub channels_last: bool,
    pub channels: usize,
    pub rows: usize,
    pub images: usize,
    /// Groups of channels and blocks of images.
    pub groups: usize,
    pub blocks: usize,
}

/// Some channels of some images, which one thread works on at a time.
pub struct PoolingUnit<'a, A> {
    pub call: &'a PoolingCall,
    pub plan: &'a PoolingPlan,
    pub direction: Direction,
    /// (place, channel), or one number a channel, of all channels.
    pub w: &'a [A],
    pub channels: Range<usize>,
    pub images: Range<usize>,
}

/// Rows of outputs of an image.
pub struct Tile {
    pub image: usize,
    pub rows: Range<usize>,
}

impl PoolingPlan {
    /// Depends on sizes and strides alone.
    pub fn new(pool: &Pool, channels_last: bool) -> PoolingPlan {
        let [height, width] = pool.output();
        let lanes = (TILE / pool.places()).max(MAX_LANES);
        let most = match channels_last {
            // Whole registers, and whole lines of the cache.
            true => (lanes / width).next_multiple_of(MAX_LANES).max(MAX_LANES),
            false => (lanes / (height * width)).max(1),
        };
        let groups = pool.channels.div_ceil(most);
        let mut channels = pool.channels.div_ceil(groups.max(1)).max(1);
        if channels_last {
            channels = channels.next_multiple_of(MAX_LANES).min(pool.channels.max(1));
        }
        let groups = pool.channels.div_ceil(channels);
        let fits = lanes / (width * channels);
        let rows = if !channels_last && channels > 1 { height } else { fits.clamp(1, height) };
        let total = pool.images();
        let wanted = (UNITS / groups.max(1)).max(1);
        let images = total.div_ceil(wanted).max(1);
        PoolingPlan {
            channels_last,
            channels,
            rows,
            images,
            groups,
            blocks: total.div_ceil(images),
        }
    }

    pub fn units(&self) -> usize {
        self.groups * self.blocks
    }

    /// The channels of a group and the images of a block.
    pub fn unit(&self, pool: &Pool, unit: usize) -> [Range<usize>; 2] {
        let (group, block) = (unit % self.groups, unit / self.groups);
        let part = |i: usize, step: usize, all: usize| i * step..((i + 1) * step).min(all);
        [part(group, self.channels, pool.channels), part(block, self.images, pool.images())]
    }

    pub fn tiles(&self, pool: &Pool, image: usize) -> impl Iterator<Item = Tile> + use<> {
        let (height, rows) = (pool.output()[0], self.rows);
        let ends = move |first: usize| (first + rows).min(height);
        (0..height).step_by(rows).map(move |first| Tile { image, rows: first..ends(first) })
    }
}
