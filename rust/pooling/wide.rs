//! A window in f64: for what is too large for f32 on the way to a result that is not.

use super::call::PoolingCall;
use crate::simd::{Element, Float};

/// Which window: the image, the channel, and the row and column of the output.
#[derive(Clone, Copy)]
pub struct At {
    pub image: usize,
    pub channel: usize,
    pub output: [usize; 2],
}

/// What is known of a window: its largest score, Σ exp(w·x − this), and y.
#[derive(Clone, Copy)]
pub struct WideWindow {
    maximum: f64,
    sum: f64,
    pub y: f64,
}

impl WideWindow {
    /// Of a window of finite numbers in a type that f64 is wider than; there is nothing to gain from others.
    ///
    /// # Safety
    /// The memory of the call is what it says.
    #[cold]
    #[inline(never)]
    pub unsafe fn new<T: Element>(call: &PoolingCall, at: At) -> Option<WideWindow> {
        if size_of::<T::Acc>() == size_of::<f64>() {
            return None;
        }
        let (mut maximum, mut from) = (f64::NEG_INFINITY, 0.0);
        // SAFETY: the caller's.
        let element = |p| unsafe { element::<T>(call, at, p) };
        for p in 0..call.pool.places() {
            let (x, w) = element(p);
            if !x.is_finite() || !w.is_finite() {
                return None;
            }
            if w * x > maximum {
                (maximum, from) = (w * x, x);
            }
        }
        // From the element of the largest score on: where all others are like it, y is exact.
        let (mut sum, mut sum_x) = (0.0, 0.0);
        for p in 0..call.pool.places() {
            let (x, w) = element(p);
            let e = (w * x - maximum).exp();
            (sum, sum_x) = (sum + e, sum_x + e * (x - from));
        }
        Some(WideWindow { maximum, sum, y: from + sum_x / sum })
    }

    /// The gradients of the `p`-th element and of its w, or the place's part of that of the only w.
    ///
    /// # Safety
    /// As for [`WideWindow::new`].
    pub unsafe fn gradients<T: Element>(&self, call: &PoolingCall, at: At, p: usize) -> [f64; 2] {
        // SAFETY: the caller's.
        let ((x, w), g) = unsafe {
            let y = call.y.channel::<T>(&call.pool, at.image, at.channel);
            let g = (*y.offset(call.y.place(at.output))).to_acc().to_f64();
            (element::<T>(call, at, p), g)
        };
        let apart = x - self.y;
        let g = g * (w * x - self.maximum).exp() / self.sum;
        [g * (1.0 + w * apart), g * apart * if call.pool.per_place { x } else { apart }]
    }
}

/// x and w at the `p`-th place of a window.
///
/// # Safety
/// The memory of the call is what it says.
unsafe fn element<T: Element>(call: &PoolingCall, at: At, p: usize) -> (f64, f64) {
    let (pool, place) = (&call.pool, call.pool.place(p));
    let pixel = [0, 1].map(|d| at.output[d] * pool.stride[d] + place[d]);
    // SAFETY: the caller's.
    unsafe {
        let x = call.x.channel::<T>(pool, at.image, at.channel).offset(call.x.place(pixel));
        let w = call.weight::<T>(&call.w, at.channel, if pool.per_place { p } else { 0 });
        ((*x).to_acc().to_f64(), (*w).to_acc().to_f64())
    }
}
