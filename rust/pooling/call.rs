//! What a pooling is of: its sizes, its element type, and where its arrays lie.

use super::sizes::Pool;
use crate::tensor::dtype::DType;
use crate::tensor::index;

/// A batch of images, or w. Strides are in elements.
pub struct ImageView {
    pub data: *mut u8,
    /// Strides of the axes before the channels.
    pub lead: Vec<isize>,
    /// Strides of channel, row and column.
    pub strides: [isize; 3],
}

impl ImageView {
    /// The offset of an image's row and column.
    pub fn place(&self, [row, column]: [usize; 2]) -> isize {
        row as isize * self.strides[1] + column as isize * self.strides[2]
    }

    /// The first element of a channel of an image.
    pub fn channel<T>(&self, pool: &Pool, image: usize, channel: usize) -> *mut T {
        let axes = pool.lead.iter().copied().zip(self.lead.iter().copied());
        let offset = index::offset(image, axes) + channel as isize * self.strides[0];
        self.data.cast::<T>().wrapping_offset(offset)
    }
}

/// A call: x and w, and the output, or its gradient and those of x and w as far as they are wanted.
pub struct PoolingCall {
    pub pool: Pool,
    pub dtype: DType,
    pub x: ImageView,
    /// Strides of (channel, row, column), the last two zero where all places have one w.
    pub w: ImageView,
    pub y: ImageView,
    pub dx: Option<ImageView>,
    pub dw: Option<ImageView>,
}

// SAFETY: units write to places of their own, and the caller of `run` owns the memory.
unsafe impl Sync for PoolingCall {}

impl PoolingCall {
    /// The number of `w` (which is w or its gradient) for a channel and the `k`-th place.
    pub fn weight<T>(&self, w: &ImageView, channel: usize, k: usize) -> *mut T {
        let offset = channel as isize * w.strides[0] + w.place(self.pool.place(k));
        w.data.cast::<T>().wrapping_offset(offset)
    }
}
