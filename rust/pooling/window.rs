//! The arithmetic of pooling, on a register of outputs: one window a lane.

use crate::simd::{Float, Vector};

/// Where the elements of the windows are.
pub trait Window<V: Vector> {
    /// Whether each place has its own w.
    const PER_PLACE: bool;

    fn places(&self) -> usize;
    /// # Safety
    /// `p` is a place.
    unsafe fn x(&self, p: usize) -> V;
    /// # Safety
    /// `p` is a place.
    unsafe fn w(&self, p: usize) -> V;
    /// Memory for a register a place.
    fn memory(&self) -> *mut V::Scalar;
    /// # Safety
    /// `p` is a place.
    unsafe fn put_dx(&self, p: usize, dx: V);
    /// The gradient of a place's w, or at `0` that of the only one.
    ///
    /// # Safety
    /// `p` is a place.
    unsafe fn put_dw(&self, p: usize, dw: V);
}

/// What is known of the windows: their elements (in registers if there are `K` of them, and not if `K` is 0)
/// and the sums of e and e·x, e being exp(w·x − largest w·x).
struct Attended<V, const K: usize> {
    x: [V; K],
    e: [V; K],
    sum: V,
    sum_x: V,
}

impl<V: Vector, const K: usize> Attended<V, K> {
    /// # Safety
    /// The window's memory is there, and it has `K` places unless `K` is 0.
    #[inline(always)]
    unsafe fn new<W: Window<V>, const KEEP: bool>(window: &W) -> Self {
        let (places, zero) = (places::<V, W, K>(window), V::splat(V::Scalar::ZERO));
        let mut this = Attended { x: [zero; K], e: [zero; K], sum: zero, sum_x: zero };
        // SAFETY: the caller's.
        unsafe {
            for p in 0..K {
                this.x[p] = window.x(p);
            }
            // Scores are in base 2.
            let log2_e = V::splat(V::Scalar::LOG2_E);
            let shared = window.w(0).mul(log2_e);
            let mut maximum = shared.mul(this.x(window, 0));
            for p in 1..places {
                let scale = if W::PER_PLACE { window.w(p).mul(log2_e) } else { shared };
                maximum = scale.mul(this.x(window, p)).max(maximum);
            }
            for p in 0..places {
                let scale = if W::PER_PLACE { window.w(p).mul(log2_e) } else { shared };
                let x = this.x(window, p);
                let e = scale.mul(x).sub(maximum).exp2();
                this.sum = this.sum.add(e);
                this.sum_x = e.mul_add(x, this.sum_x);
                if K > 0 {
                    this.e[p] = e;
                } else if KEEP {
                    e.store(window.memory().add(p * V::LANES));
                }
            }
        }
        this
    }

    /// # Safety
    /// `p` is a place.
    #[inline(always)]
    unsafe fn x<W: Window<V>>(&self, window: &W, p: usize) -> V {
        // SAFETY: the caller's.
        if K == 0 { unsafe { window.x(p) } } else { self.x[p] }
    }

    /// # Safety
    /// `p` is a place, and e was kept.
    #[inline(always)]
    unsafe fn e<W: Window<V>>(&self, window: &W, p: usize) -> V {
        // SAFETY: the caller's.
        if K == 0 { unsafe { V::load(window.memory().add(p * V::LANES)) } } else { self.e[p] }
    }
}

#[inline(always)]
fn places<V: Vector, W: Window<V>, const K: usize>(window: &W) -> usize {
    if K == 0 { window.places() } else { K }
}

/// y = Σ softmax(w·x)·x over `K` places, or over as many as there are if `K` is 0.
///
/// # Safety
/// The window's memory is there, and it has `K` places unless `K` is 0.
#[inline(always)]
pub unsafe fn output<V: Vector, W: Window<V>, const K: usize>(window: &W) -> V {
    // SAFETY: the caller's.
    let attended = unsafe { Attended::<V, K>::new::<W, false>(window) };
    attended.sum_x.div(attended.sum)
}

/// dx = g·a·(1 + w·(x − y)), and dw = g·Σ a·(x − y)², which is g·Σ a·x·(x − y) without its cancellation;
/// with a w for each place, g·a·x·(x − y).
///
/// # Safety
/// As for [`output`].
#[inline(always)]
pub unsafe fn gradients<V: Vector, W: Window<V>, const K: usize>(window: &W, g: V) {
    // SAFETY: the caller's.
    unsafe {
        let attended = Attended::<V, K>::new::<W, true>(window);
        let y = attended.sum_x.div(attended.sum);
        let g = g.div(attended.sum);
        let mut dw = V::splat(V::Scalar::ZERO);
        for p in 0..places::<V, W, K>(window) {
            let (x, e) = (attended.x(window, p), attended.e(window, p));
            let apart = x.sub(y);
            let t = e.mul(apart);
            if W::PER_PLACE {
                window.put_dw(p, g.mul(t).mul(x));
            } else {
                dw = t.mul_add(apart, dw);
            }
            window.put_dx(p, g.mul(window.w(p).mul_add(t, e)));
        }
        if !W::PER_PLACE {
            window.put_dw(0, g.mul(dw));
        }
    }
}
