//! The arithmetic of pooling, on columns: one output a lane, one row of memory a place in its window.

use crate::numerics::Float;
use crate::simd::Vector;

/// Memory of whole registers; rows of `x` (and of what else has one a place) are `pitch` apart.
pub struct Columns<A> {
    pub pitch: usize,
    pub places: usize,
    /// The windows' elements; the backward leaves their gradients here.
    pub x: *mut A,
    /// The learned array, one row or one a place.
    pub w: *const A,
    /// The outputs, or their gradients.
    pub y: *mut A,
    /// The gradient of `w`, a number a lane.
    pub dw: *mut A,
    /// A register a place.
    pub e: *mut A,
}

/// One register of outputs, whose first is lane `at`.
struct Lanes<'a, V: Vector, const PLACE: bool> {
    columns: &'a Columns<V::Scalar>,
    at: usize,
    /// w and w · log₂ e of all places, where there is one.
    w: V,
    scale: V,
}

impl<'a, V: Vector, const PLACE: bool> Lanes<'a, V, PLACE> {
    #[inline(always)]
    unsafe fn new(columns: &'a Columns<V::Scalar>, at: usize) -> Self {
        let w = V::load(columns.w.add(at));
        Lanes { columns, at, w, scale: w.mul(V::splat(V::Scalar::LOG2_E)) }
    }

    #[inline(always)]
    unsafe fn x(&self, p: usize) -> V {
        V::load(self.columns.x.add(p * self.columns.pitch + self.at))
    }

    #[inline(always)]
    unsafe fn weight(&self, p: usize) -> V {
        if PLACE { V::load(self.columns.w.add(p * self.columns.pitch + self.at)) } else { self.w }
    }

    /// In base 2.
    #[inline(always)]
    unsafe fn score(&self, p: usize) -> V {
        let scale =
            if PLACE { self.weight(p).mul(V::splat(V::Scalar::LOG2_E)) } else { self.scale };
        scale.mul(self.x(p))
    }

    /// Sums of e and e · x over the window, e being exp(score − largest score). Where `KEEP`, e stays in
    /// `kept`, or in memory if the number of places is not known.
    #[inline(always)]
    unsafe fn sums<const K: usize, const KEEP: bool>(&self, kept: &mut [V; K]) -> (V, V) {
        let places = if K == 0 { self.columns.places } else { K };
        let mut maximum = self.score(0);
        for p in 1..places {
            maximum = self.score(p).max(maximum);
        }
        let zero = V::splat(V::Scalar::ZERO);
        let (mut sum, mut sum_x) = (zero, zero);
        for p in 0..places {
            let e = self.score(p).sub(maximum).exp2();
            sum = sum.add(e);
            sum_x = e.mul_add(self.x(p), sum_x);
            if KEEP && K > 0 {
                kept[p] = e;
            } else if KEEP {
                e.store(self.columns.e.add(p * V::LANES));
            }
        }
        (sum, sum_x)
    }
}

/// y = Σ softmax(w·x)·x. `K` places, or as many as there are if it is 0; `PLACE`: each with its own w.
#[inline(always)]
pub unsafe fn forward<V: Vector, const K: usize, const PLACE: bool>(
    columns: &Columns<V::Scalar>,
    lanes: usize,
) {
    let mut unused = [V::splat(V::Scalar::ZERO); K];
    for at in (0..lanes).step_by(V::LANES) {
        let (sum, sum_x) = Lanes::<V, PLACE>::new(columns, at).sums::<K, false>(&mut unused);
        sum_x.div(sum).store(columns.y.add(at));
    }
}

/// dx = g·a·(1 + w·(x − y)), and dw = g·Σ a·(x − y)², which is g·Σ a·x·(x − y) without its cancellation;
/// with a w for each place, g·a·x·(x − y).
#[inline(always)]
pub unsafe fn backward<V: Vector, const K: usize, const PLACE: bool>(
    columns: &Columns<V::Scalar>,
    lanes: usize,
) {
    let places = if K == 0 { columns.places } else { K };
    let pitch = columns.pitch;
    let zero = V::splat(V::Scalar::ZERO);
    for at in (0..lanes).step_by(V::LANES) {
        let window = Lanes::<V, PLACE>::new(columns, at);
        let mut kept = [zero; K];
        let (sum, sum_x) = window.sums::<K, true>(&mut kept);
        let y = sum_x.div(sum);
        let g = V::load(columns.y.add(at)).div(sum);
        let mut dw = zero;
        for p in 0..places {
            let e = if K == 0 { V::load(columns.e.add(p * V::LANES)) } else { kept[p] };
            let x = window.x(p);
            let apart = x.sub(y);
            let t = e.mul(apart);
            if PLACE {
                g.mul(t).mul(x).store(columns.dw.add(p * pitch + at));
            } else {
                dw = t.mul_add(apart, dw);
            }
            let dx = g.mul(window.weight(p).mul_add(t, e));
            dx.store(columns.x.add(p * pitch + at));
        }
        if !PLACE {
            g.mul(dw).store(columns.dw.add(at));
        }
    }
}
