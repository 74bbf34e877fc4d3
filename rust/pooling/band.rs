//! The gradient of some rows of an image, where what overlapping windows give is added up.

use super::call::ImageView;
use super::copy::Loops;
use super::im2col::Im2col;
use super::plan::{PoolingPlan, Tile};
use super::sizes::Pool;
use super::window::PART;
use crate::simd::sums::Compensated;
use crate::simd::{Float, Packed, Register};
use crate::tensor::memory::{OutOfMemory, try_vec};
use std::ops::Range;

/// The rows of the windows of a tile, dense, of some channels.
pub struct Band<A> {
    sums: Vec<A>,
    /// What the sums have lost, where many windows have an element in common.
    lost: Vec<A>,
    rows: usize,
    /// Numbers of a row, all channels together.
    row: usize,
}

impl<A: Float> Band<A> {
    pub fn try_new(pool: &Pool, plan: &PoolingPlan, channels: usize) -> Result<Self, OutOfMemory> {
        let (tall, down) = (plan.tile[0], pool.stride[0]);
        let rows = ((tall - 1) * down + pool.kernel[0]).max(tall * down).min(pool.image[0]);
        let row = channels * pool.image[1];
        let shared = |d: usize| pool.kernel[d].div_ceil(pool.stride[d]).min(pool.output()[d]);
        let lost = if shared(0) * shared(1) > PART { rows * row } else { 0 };
        let (sums, lost) = (try_vec(A::ZERO, rows * row)?, try_vec(A::ZERO, lost)?);
        Ok(Band { sums, lost, rows, row })
    }

    /// Add the gradients in columns of some places.
    ///
    /// # Safety
    /// `columns` has the tile's lanes for each of the places.
    #[inline(always)]
    pub unsafe fn add<V: Register<A>>(
        &mut self,
        im2col: &Im2col,
        tile: &Tile,
        places: Range<usize>,
        columns: *const A,
    ) {
        let [rows, row] = [self.rows, self.row].map(|n: usize| n as isize);
        let (width, channels) = (im2col.pool.image[1] as isize, im2col.channels.len() as isize);
        let strides = match im2col.channels_last {
            true => [1, row, channels],
            false => [rows * width, width, 1],
        };
        let first = (tile.columns.start * im2col.pool.stride[1]) as isize * strides[2];
        let (loops, offsets) = im2col.windows(tile, strides, places);
        let (sums, lost) = (self.sums.as_mut_ptr(), self.lost.as_mut_ptr());
        for (p, offset) in offsets.enumerate() {
            let to = first + offset;
            let lost = (!self.lost.is_empty()).then_some(lost.wrapping_offset(to));
            // SAFETY: the band has the rows of the tile's windows.
            unsafe { loops.add::<A, V>(columns.add(p * im2col.pitch), sums.offset(to), lost) };
        }
    }

    /// Store the rows that no window after the tile, the last one beside its like, has a part of.
    ///
    /// # Safety
    /// `dx` is images of these sizes.
    #[inline(always)]
    pub unsafe fn store<T: Packed<Acc = A>, V: Register<T>>(
        &mut self,
        im2col: &Im2col,
        tile: &Tile,
        dx: &ImageView,
    ) {
        let pool = im2col.pool;
        let (first, [height, width]) = (tile.rows.start * pool.stride[0], pool.image);
        let is_last = tile.rows.end == pool.output()[0];
        let done = match is_last {
            true => self.rows.min(height - first),
            false => tile.rows.len() * pool.stride[0],
        };
        let size = done * self.row;
        for (sum, lost) in self.sums[..size].iter_mut().zip(&self.lost) {
            *sum = Compensated { sum: *sum, lost: *lost }.total();
        }
        let start = im2col.start::<T>(dx, tile.image);
        let channels = im2col.channels.len();
        let rows = |n| Loops::new(im2col.channels_last, [channels, n, width], dx.strides);
        // SAFETY: the caller's.
        unsafe {
            let to = start.offset(dx.place([first, 0]));
            rows(done).store::<T, V>(self.sums.as_ptr(), to);
            if is_last && first + done < height {
                let rest = start.offset(dx.place([first + done, 0]));
                rows(height - first - done).clear(rest);
            }
        }
        for numbers in [&mut self.sums, &mut self.lost] {
            let done = if is_last { numbers.len() } else { size.min(numbers.len()) };
            let left = numbers.len() - done;
            numbers.copy_within(done.., 0);
            numbers[left..].fill(A::ZERO);
        }
    }
}
