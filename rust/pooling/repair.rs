//! What has become infinite or NaN in the columns of a tile, computed again in f64.

use super::call::PoolingCall;
use super::im2col::Im2col;
use super::plan::Tile;
use super::wide::{At, WideWindow};
use crate::simd::{Element, Float};
use std::collections::BTreeMap;
use std::ops::Range;

/// # Safety
/// The memory of the call is what it says.
#[cold]
#[inline(never)]
pub unsafe fn outputs<T: Element>(
    call: &PoolingCall,
    im2col: &Im2col,
    tile: &Tile,
    y: &mut [T::Acc],
) {
    for (lane, y) in y[..im2col.lanes(tile)].iter_mut().enumerate().filter(|(_, y)| !is_finite(**y))
    {
        // SAFETY: the caller's.
        if let Some(wide) = unsafe { WideWindow::new::<T>(call, at(im2col, tile, lane)) } {
            *y = T::Acc::from_f64(wide.y);
        }
    }
}

/// Windows that have been computed in f64, if they could be, by their lanes.
#[derive(Default)]
pub struct WideTile(BTreeMap<usize, Option<WideWindow>>);

impl WideTile {
    /// Repair the gradients at some places of x and of w.
    ///
    /// # Safety
    /// The memory of the call is what it says.
    #[cold]
    #[inline(never)]
    pub unsafe fn gradients<T: Element>(
        &mut self,
        call: &PoolingCall,
        im2col: &Im2col,
        tile: &Tile,
        places: Range<usize>,
        [x, dw]: [&mut [T::Acc]; 2],
    ) {
        let (pitch, per_place) = (im2col.pitch, call.pool.per_place);
        let weights = if per_place { places.len() } else { 1 };
        for lane in 0..im2col.lanes(tile) {
            let fine = |rows: &[T::Acc], n| (0..n).all(|p| is_finite(rows[p * pitch + lane]));
            if fine(x, places.len()) && fine(dw, weights) {
                continue;
            }
            let at = at(im2col, tile, lane);
            // SAFETY: the caller's.
            let new = || unsafe { WideWindow::new::<T>(call, at) };
            let Some(wide) = *self.0.entry(lane).or_insert_with(new) else { continue };
            let mut total = 0.0;
            for (i, p) in places.clone().enumerate() {
                // SAFETY: the caller's.
                let [to_x, to_w] = unsafe { wide.gradients::<T>(call, at, p) };
                x[i * pitch + lane] = T::Acc::from_f64(to_x);
                total = if per_place { to_w } else { total + to_w };
                dw[if per_place { i * pitch } else { 0 } + lane] = T::Acc::from_f64(total);
            }
        }
    }
}

fn at(im2col: &Im2col, tile: &Tile, lane: usize) -> At {
    let (channel, output) = im2col.output_of(tile, lane);
    At { image: tile.image, channel, output }
}

fn is_finite<A: Float>(x: A) -> bool {
    x.to_f64().is_finite()
}
