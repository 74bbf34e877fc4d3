//! How the work of a pooling is cut: into units for threads, and those into tiles that fit the cache.

use super::Pool;

/// Numbers in a tile's columns.
const TILE: usize = 4096;
/// Lanes that a tile has in any case, whatever the window.
const FEWEST_LANES: usize = 16;
/// Enough units to share among threads. Each has sums of its own for the gradient of w.
const UNITS: usize = 64;

/// A unit is some channels of some images; a tile some rows of outputs of one of them.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Whether a tile's channels are innermost.
    pub channels_last: bool,
    pub channels: usize,
    pub rows: usize,
    pub images: usize,
    /// Groups of channels and blocks of images.
    pub groups: usize,
    pub blocks: usize,
}

impl Plan {
    /// Depends on sizes and strides alone.
    pub fn new(pool: &Pool, channels_last: bool) -> Plan {
        let [height, width] = pool.output();
        let lanes = (TILE / pool.places()).max(FEWEST_LANES);
        let most = match channels_last {
            // Whole registers, and whole lines of the cache.
            true => (lanes / width).next_multiple_of(16).max(16),
            false => (lanes / (height * width)).max(1),
        };
        let groups = pool.channels.div_ceil(most);
        let mut channels = pool.channels.div_ceil(groups.max(1)).max(1);
        if channels_last {
            channels = channels.next_multiple_of(16).min(pool.channels.max(1));
        }
        let groups = pool.channels.div_ceil(channels);
        let fits = lanes / (width * channels);
        let rows = if !channels_last && channels > 1 { height } else { fits.clamp(1, height) };
        let total = pool.images();
        let wanted = (UNITS / groups.max(1)).max(1);
        let images = total.div_ceil(wanted).max(1);
        Plan { channels_last, channels, rows, images, groups, blocks: total.div_ceil(images) }
    }

    /// The channels of a group and the images of a block.
    pub fn unit(&self, pool: &Pool, unit: usize) -> [std::ops::Range<usize>; 2] {
        let (group, block) = (unit % self.groups, unit / self.groups);
        let part = |i: usize, step: usize, all: usize| i * step..((i + 1) * step).min(all);
        [part(group, self.channels, pool.channels), part(block, self.images, pool.images())]
    }

    pub fn units(&self) -> usize {
        self.groups * self.blocks
    }
}
