//! The arithmetic of pooling, on a register of outputs: one window a lane.

use crate::simd::sums::CompensatedLanes;
use crate::simd::{Float, Vector};

/// So many places are added up as they come, and these sums with a compensation for what rounding took: the
/// error does not grow with the window.
pub const PART: usize = 16;
/// Up to so many places, the sums of parts are themselves added up as they come.
const FEW_PARTS: usize = 4 * PART;

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

/// The windows at work: their elements and e = exp(w·x − shift), in registers if there are `K` places and in
/// memory if `K` is 0.
pub struct Attended<'a, V, W, const K: usize> {
    window: &'a W,
    x: [V; K],
    e: [V; K],
}

impl<'a, V: Vector, W: Window<V>, const K: usize> Attended<'a, V, W, K> {
    /// # Safety
    /// The window's memory is there for as long as this is used, and it has `K` places unless `K` is 0.
    #[inline(always)]
    pub unsafe fn new(window: &'a W) -> Self {
        let zero = V::splat(V::Scalar::ZERO);
        let mut this = Attended { window, x: [zero; K], e: [zero; K] };
        for p in 0..K {
            // SAFETY: the caller's.
            this.x[p] = unsafe { window.x(p) };
        }
        this
    }

    #[inline(always)]
    fn places(&self) -> usize {
        if K == 0 { self.window.places() } else { K }
    }

    /// The factor of x in the scores, which are in base 2.
    #[inline(always)]
    fn scale(&self, p: usize) -> V {
        // SAFETY: `p` is a place, here and below.
        unsafe { self.window.w(if W::PER_PLACE { p } else { 0 }) }.mul(V::splat(V::Scalar::LOG2_E))
    }

    #[inline(always)]
    fn x(&self, p: usize) -> V {
        // SAFETY: as above.
        if K == 0 { unsafe { self.window.x(p) } } else { self.x[p] }
    }

    #[inline(always)]
    fn e(&self, p: usize) -> V {
        // SAFETY: as above, and `add_up` has kept it.
        if K == 0 { unsafe { V::load(self.window.memory().add(p * V::LANES)) } } else { self.e[p] }
    }

    /// The largest score.
    #[inline(always)]
    pub fn maximum(&self) -> V {
        let shared = self.scale(0);
        let mut maximum = shared.mul(self.x(0));
        for p in 1..self.places() {
            let scale = if W::PER_PLACE { self.scale(p) } else { shared };
            maximum = scale.mul(self.x(p)).max(maximum);
        }
        maximum
    }

    /// Find e, Σ e and Σ e·x.
    #[inline(always)]
    pub fn add_up<const KEEP: bool>(&mut self, shift: V) -> [V; 2] {
        let (places, shared) = (self.places(), self.scale(0));
        let mut sums = [CompensatedLanes::new(); 2];
        let mut start = 0;
        loop {
            let end = places.min(start + PART);
            let mut part = [V::splat(V::Scalar::ZERO); 2];
            for p in start..end {
                let scale = if W::PER_PLACE { self.scale(p) } else { shared };
                let x = self.x(p);
                let e = scale.mul(x).sub(shift).exp2();
                part = [part[0].add(e), e.mul_add(x, part[1])];
                if K > 0 {
                    self.e[p] = e;
                } else if KEEP {
                    // SAFETY: there is memory for a register a place.
                    unsafe { e.store(self.window.memory().add(p * V::LANES)) };
                }
            }
            if end == places {
                return match start {
                    0 => part,
                    _ => [sums[0].with(part[0]), sums[1].with(part[1])],
                };
            }
            sums = match places <= FEW_PARTS {
                true => [sums[0].rounded(part[0]), sums[1].rounded(part[1])],
                false => [sums[0].add(part[0]), sums[1].add(part[1])],
            };
            start = end;
        }
    }

    /// Put dx = g·e·(1 + w·(x − y)), where g is the gradient of y over the sum of all e, and
    /// dw = g·Σ e·(x − y)², which is g·Σ e·x·(x − y) without its cancellation; with a w for each place
    /// g·e·x·(x − y). `check` comes back, but NaN in lanes where something was too large to be computed.
    #[inline(always)]
    pub fn put_gradients(&self, y: V, g: V, mut check: V) -> V {
        let (places, zero) = (self.places(), V::splat(V::Scalar::ZERO));
        let mut squares = CompensatedLanes::new();
        let mut start = 0;
        let squares = loop {
            let end = places.min(start + PART);
            let mut part = zero;
            for p in start..end {
                let (x, e) = (self.x(p), self.e(p));
                let apart = x.sub(y);
                let t = e.mul(apart);
                // SAFETY: `p` is a place.
                unsafe {
                    let dx = g.mul(self.window.w(p).mul_add(t, e));
                    if W::PER_PLACE {
                        let dw = g.mul(t).mul(x);
                        self.window.put_dw(p, dw);
                        check = dw.mul_add(zero, dx.mul_add(zero, check));
                    } else {
                        part = t.mul_add(apart, part);
                    }
                    self.window.put_dx(p, dx);
                }
            }
            if end == places {
                break if start == 0 { part } else { squares.with(part) };
            }
            squares = if places <= FEW_PARTS { squares.rounded(part) } else { squares.add(part) };
            start = end;
        };
        if W::PER_PLACE {
            return check;
        }
        // SAFETY: there is a first place.
        unsafe {
            self.window.put_dw(0, g.mul(squares));
            // |e·(x − y)| is at most 1 + Σ e·(x − y)²: where this is finite, so is every dx.
            let w = self.window.w(0);
            g.mul(squares.mul_add(w, w)).mul_add(zero, check)
        }
    }
}

/// y = Σ softmax(w·x)·x over `K` places, or over as many as there are if `K` is 0; and `check`, but NaN in
/// lanes where something was too large to be computed.
///
/// # Safety
/// As for [`Attended::new`].
#[inline(always)]
pub unsafe fn output<V: Vector, W: Window<V>, const K: usize>(window: &W, check: V) -> (V, V) {
    // SAFETY: the caller's.
    let mut attended = unsafe { Attended::<V, W, K>::new(window) };
    let [sum, sum_x] = attended.add_up::<false>(attended.maximum());
    let y = sum_x.div(sum);
    (y, y.mul_add(V::splat(V::Scalar::ZERO), check))
}

/// Put the gradients of windows, of whose outputs `g` is that; see [`Attended::put_gradients`].
///
/// # Safety
/// As for [`Attended::new`].
#[inline(always)]
pub unsafe fn gradients<V: Vector, W: Window<V>, const K: usize>(window: &W, g: V, check: V) -> V {
    // SAFETY: the caller's.
    let mut attended = unsafe { Attended::<V, W, K>::new(window) };
    let [sum, sum_x] = attended.add_up::<true>(attended.maximum());
    attended.put_gradients(sum_x.div(sum), g.div(sum), check)
}

/// Whether a lane is NaN.
#[inline(always)]
#[allow(clippy::eq_op)]
pub fn is_nan<V: Vector>(x: V) -> bool {
    let sum = x.reduce_sum();
    sum != sum
}
