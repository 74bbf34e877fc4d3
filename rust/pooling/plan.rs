//! How the work of a pooling is cut: into units for threads, and those into tiles that fit the cache.

use super::call::PoolingCall;
use super::sizes::Pool;
use crate::simd::MAX_LANES;
use crate::tensor::dtype::Direction;
use std::ops::Range;

/// Numbers in a tile's columns.
const TILE: usize = 4096;
/// Larger windows are worked on in pieces.
const PLACES: usize = 1 << 14;
/// Places of a piece.
const PIECE: usize = 512;
/// Enough units to share among threads. Each has sums of its own for the gradient of w …
const UNITS: usize = 64;
/// … unless these are more numbers than this.
const SUMS: usize = 1 << 20;

/// A unit is some channels of some images; a tile some outputs of one of them.
#[derive(Clone, Copy)]
pub struct PoolingPlan {
    /// Whether a tile's channels are innermost.
    pub channels_last: bool,
    pub channels: usize,
    /// Rows of a tile, and columns: all, unless these are many.
    pub tile: [usize; 2],
    /// Places of a window that are worked on at a time.
    pub piece: usize,
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
    /// (place, channel), or one number a channel, of all channels; nothing where windows are in pieces.
    pub w: &'a [A],
    pub channels: Range<usize>,
    pub images: Range<usize>,
}

/// Outputs of an image.
pub struct Tile {
    pub image: usize,
    pub rows: Range<usize>,
    pub columns: Range<usize>,
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
        // A row of outputs may be long.
        let room = (16 * TILE / pool.places()).max(MAX_LANES);
        let columns =
            if width * channels > room && rows == 1 { (room / channels).max(1) } else { width };
        let piece = if pool.places() > PLACES { PIECE } else { pool.places() };
        let total = pool.images();
        let affordable = SUMS / (pool.weights() * pool.channels.max(1));
        let wanted = (UNITS / groups.max(1)).min(affordable).max(1);
        let images = total.div_ceil(wanted).max(1);
        let blocks = total.div_ceil(images);
        let tile = [rows, columns];
        PoolingPlan { channels_last, channels, tile, piece, images, groups, blocks }
    }

    /// Whether a window is worked on all at once.
    pub fn is_whole(&self, pool: &Pool) -> bool {
        self.piece == pool.places()
    }

    /// The places that windows are worked on at.
    pub fn pieces(&self, pool: &Pool) -> impl Iterator<Item = Range<usize>> + use<> {
        let (places, piece) = (pool.places(), self.piece);
        (0..places).step_by(piece).map(move |p| p..(p + piece).min(places))
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
        let ([height, width], [rows, columns]) = (pool.output(), self.tile);
        let range = |first: usize, step: usize, end: usize| first..(first + step).min(end);
        (0..height).step_by(rows).flat_map(move |row| {
            let rows = range(row, rows, height);
            (0..width).step_by(columns).map(move |column| Tile {
                image,
                rows: rows.clone(),
                columns: range(column, columns, width),
            })
        })
    }
}
