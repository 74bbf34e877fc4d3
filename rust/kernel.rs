//! The arithmetic of softmax(z) ∘ v over blocks, forward and backward, whatever z and v are made of.

use crate::block::{Block, Register, Sink};
use crate::numerics::{Element, Float, exp};
use crate::simd::Vector;

/// An op: how scores and values come from its inputs, and the inputs' gradients from theirs.
///
/// All methods work on the `n` elements from `i` on of one row (`FULL`: `n` is a register's width).
#[allow(clippy::missing_safety_doc)]
pub trait Op: Copy + Send + Sync {
    type T: Element;
    /// The inputs along one row, and where the gradients along one row go.
    type Inputs: Copy;
    type Gradients: Copy;
    /// The number of inputs; they are the first operands.
    const INPUTS: usize;

    unsafe fn inputs(&self, block: &Block, row: usize) -> Self::Inputs;
    unsafe fn gradients(&self, block: &Block, row: usize) -> Self::Gradients;
    unsafe fn score<V: Register<Self::T>, const FULL: bool>(&self, inputs: &Self::Inputs, i: usize, n: usize) -> V;
    unsafe fn value<V: Register<Self::T>, const FULL: bool>(&self, inputs: &Self::Inputs, i: usize, n: usize) -> V;
    /// What the output is added to, if anything.
    unsafe fn add_residual<V: Register<Self::T>, const FULL: bool>(
        &self,
        y: V,
        inputs: &Self::Inputs,
        i: usize,
        n: usize,
    ) -> V;
    /// Store the gradients; `grad` holds those of the output, the scores and the values.
    unsafe fn put_gradients<V: Register<Self::T>, const FULL: bool>(
        &self,
        inputs: &Self::Inputs,
        gradients: &Self::Gradients,
        grad: Upstream<V>,
        i: usize,
        n: usize,
    );
}

/// Gradients that have come down to one register: of the output, the scores and the values.
#[derive(Clone, Copy)]
pub struct Upstream<V> {
    pub y: V,
    pub z: V,
    pub v: V,
    /// A slice that keeps nothing has gradients of exactly zero, whatever it is multiplied with.
    pub inverse: V,
}

impl<V: Vector> Upstream<V> {
    #[inline(always)]
    pub unsafe fn of_kept(&self, gradient: V) -> V {
        zero_if_empty(gradient, self.inverse)
    }
}

/// Operands behind an op's inputs.
pub const Y: usize = 8;
pub const WEIGHTS: usize = 9;
/// The maximum of each slice's scores, and 1/Σ exp(score − maximum) (zero where nothing is kept).
pub const MAXIMUM: usize = 10;
pub const INVERSE: usize = 11;
/// The first of the gradients, in the order of the inputs. Y and WEIGHTS then hold the upstream ones.
pub const GRADIENTS: usize = 12;

/// Run `$body` for each register's worth of `0..$len`, the last one possibly not full.
macro_rules! for_registers {
    ($V:ty, $len:expr, |$i:ident, $n:ident, $FULL:ident| $body:block) => {{
        let len: usize = $len;
        let full = len - len % <$V>::LANES;
        let mut $i = 0;
        while $i < full {
            #[allow(dead_code)]
            const $FULL: bool = true;
            let $n = <$V>::LANES;
            $body
            $i += <$V>::LANES;
        }
        if $i < len {
            #[allow(dead_code)]
            const $FULL: bool = false;
            let $n = len - $i;
            $body
        }
    }};
}

#[inline(always)]
unsafe fn zero_if_empty<V: Vector>(x: V, inverse: V) -> V {
    // A sum is at least 1 and at most the length: its inverse is far above this, or zero, or NaN.
    x.zero_where_less(inverse, V::splat(V::Scalar::from_f64(1e-30)))
}

/// The running maximum and sum of one slice (`LANEWISE` false), or of as many as the inner axis is
/// long; then shifts and inverses of the sums.
pub struct Stats<V: Vector, const LANEWISE: bool> {
    maximum: V,
    sum: V,
    maxima: *mut V::Scalar,
    sums: *mut V::Scalar,
}

impl<V: Vector, const LANEWISE: bool> Stats<V, LANEWISE> {
    /// `memory` holds 2·`lanes` numbers, `lanes` a multiple of the register's width.
    #[inline(always)]
    pub unsafe fn new(memory: *mut V::Scalar, lanes: usize) -> Self {
        let low = V::splat(V::Scalar::NEG_INFINITY);
        let zero = V::splat(V::Scalar::ZERO);
        let stats = Stats { maximum: low, sum: zero, maxima: memory, sums: memory.add(lanes) };
        if LANEWISE {
            for i in (0..lanes).step_by(V::LANES) {
                low.store(stats.maxima.add(i));
                zero.store(stats.sums.add(i));
            }
        }
        stats
    }

    #[inline(always)]
    unsafe fn see(&mut self, i: usize, z: V) {
        if LANEWISE {
            z.max(V::load(self.maxima.add(i))).store(self.maxima.add(i));
        } else {
            self.maximum = z.max(self.maximum);
        }
    }

    #[inline(always)]
    unsafe fn add(&mut self, i: usize, x: V) {
        if LANEWISE {
            V::load(self.sums.add(i)).add(x).store(self.sums.add(i));
        } else {
            self.sum = self.sum.add(x);
        }
    }

    #[inline(always)]
    unsafe fn maximum(&self, i: usize) -> V {
        if LANEWISE { V::load(self.maxima.add(i)) } else { self.maximum }
    }

    #[inline(always)]
    unsafe fn sum(&self, i: usize) -> V {
        if LANEWISE { V::load(self.sums.add(i)) } else { self.sum }
    }

    /// The maxima are final. Of a single slice, every lane now holds it.
    #[inline(always)]
    pub unsafe fn finish_maxima(&mut self) {
        if !LANEWISE {
            self.maximum = V::splat(self.maximum.reduce_max());
        }
    }

    /// The sums are final. Of a single slice, every lane now holds it.
    #[inline(always)]
    pub unsafe fn finish_sums(&mut self) {
        if !LANEWISE {
            self.sum = V::splat(self.sum.reduce_sum());
        }
    }

    /// Final maxima become what scores are shifted by: zero where all of them are −∞.
    #[inline(always)]
    pub unsafe fn maxima_to_shifts(&mut self, slices: usize) {
        for i in 0..slices {
            let (maximum, sum) = self.get(i);
            if maximum == V::Scalar::NEG_INFINITY {
                self.set(i, V::Scalar::ZERO, sum);
            }
        }
    }

    /// Final sums become their inverses: zero where nothing was kept.
    #[inline(always)]
    pub unsafe fn sums_to_inverses(&mut self, slices: usize) {
        for i in 0..slices {
            let (shift, sum) = self.get(i);
            if sum != V::Scalar::ZERO {
                self.set(i, shift, V::Scalar::ONE / sum);
            }
        }
    }

    /// The final maximum and sum of slice `i`.
    #[inline(always)]
    pub unsafe fn get(&self, i: usize) -> (V::Scalar, V::Scalar) {
        if LANEWISE {
            (*self.maxima.add(i), *self.sums.add(i))
        } else {
            (self.maximum.extract(), self.sum.extract())
        }
    }

    #[inline(always)]
    pub unsafe fn set(&mut self, i: usize, maximum: V::Scalar, sum: V::Scalar) {
        if LANEWISE {
            *self.maxima.add(i) = maximum;
            *self.sums.add(i) = sum;
        } else {
            (self.maximum, self.sum) = (V::splat(maximum), V::splat(sum));
        }
    }
}

/// Scores of one row into `z`; their maximum into `stats`.
#[inline(always)]
pub unsafe fn scores<O: Op, V: Register<O::T>, const LANEWISE: bool>(
    op: &O,
    inputs: &O::Inputs,
    len: usize,
    z: *mut V::Scalar,
    stats: &mut Stats<V, LANEWISE>,
) {
    for_registers!(V, len, |i, n, FULL| {
        let score = masked_score::<O, V, FULL>(op, inputs, i, n);
        score.store(z.add(i));
        stats.see(i, score);
    });
}

#[inline(always)]
unsafe fn masked_score<O: Op, V: Register<O::T>, const FULL: bool>(
    op: &O,
    inputs: &O::Inputs,
    i: usize,
    n: usize,
) -> V {
    let score = op.score::<V, FULL>(inputs, i, n);
    if FULL { score } else { score.first(n) }
}

/// exp(z − maximum) in place of the scores; their sum into `stats`.
#[inline(always)]
pub unsafe fn exponentials<V: Vector, const LANEWISE: bool>(
    z: *mut V::Scalar,
    len: usize,
    stats: &mut Stats<V, LANEWISE>,
) {
    for i in (0..len).step_by(V::LANES) {
        let e = exp(V::load(z.add(i)).sub(stats.maximum(i)));
        e.store(z.add(i));
        stats.add(i, e);
    }
}

/// The weights of `n` elements: from the exponentials in `e`, or from the inputs anew if that is null.
#[inline(always)]
unsafe fn weights<O: Op, V: Register<O::T>, const LANEWISE: bool, const FULL: bool>(
    op: &O,
    inputs: &O::Inputs,
    e: *const V::Scalar,
    stats: &Stats<V, LANEWISE>,
    inverse: V,
    (i, n): (usize, usize),
) -> V {
    let e = if e.is_null() {
        exp(masked_score::<O, V, FULL>(op, inputs, i, n).sub(stats.maximum(i)))
    } else {
        V::load(e.add(i))
    };
    e.mul(inverse)
}

/// Outputs (and weights) of one row; `stats` holds shifts and inverses.
#[inline(always)]
pub unsafe fn outputs<O: Op, V: Register<O::T>, const LANEWISE: bool>(
    op: &O,
    block: &Block,
    row: usize,
    len: usize,
    e: *const V::Scalar,
    stats: &Stats<V, LANEWISE>,
) {
    let inputs = op.inputs(block, row);
    let (y_sink, weight_sink) = (block.sink(Y, row), block.sink(WEIGHTS, row));
    for_registers!(V, len, |i, n, FULL| {
        let inverse = stats.sum(i);
        let a = weights::<O, V, LANEWISE, FULL>(op, &inputs, e, stats, inverse, (i, n));
        let y = zero_if_empty(a.mul(op.value::<V, FULL>(&inputs, i, n)), inverse);
        put::<O, V, FULL>(&y_sink, op.add_residual::<V, FULL>(y, &inputs, i, n), i, n);
        put::<O, V, FULL>(&weight_sink, a, i, n);
    });
}

#[inline(always)]
unsafe fn put<O: Op, V: Register<O::T>, const FULL: bool>(sink: &Sink, x: V, i: usize, n: usize) {
    sink.put::<O::T, V, FULL>(x, i, n);
}

/// The backward's first pass over a row: the weights into `a` (unless null), Σ a·da to `dot`'s sums.
/// `stats` holds shifts and inverses.
#[inline(always)]
pub unsafe fn dot<O: Op, V: Register<O::T>, const LANEWISE: bool>(
    op: &O,
    block: &Block,
    row: usize,
    len: usize,
    a_out: *mut V::Scalar,
    stats: &Stats<V, LANEWISE>,
    dot: &mut Stats<V, LANEWISE>,
) {
    let inputs = op.inputs(block, row);
    let (grad_y, grad_weights) = (block.source::<O::T>(Y, row), block.source::<O::T>(WEIGHTS, row));
    for_registers!(V, len, |i, n, FULL| {
        let inverse = stats.sum(i);
        let a = weights::<O, V, LANEWISE, FULL>(op, &inputs, std::ptr::null(), stats, inverse, (i, n));
        if !a_out.is_null() {
            a.store(a_out.add(i));
        }
        let g = zero_if_empty(grad_y.load::<V, FULL>(i, n), inverse);
        let mut da = g.mul(op.value::<V, FULL>(&inputs, i, n));
        if !grad_weights.is_absent() {
            da = da.add(grad_weights.load::<V, FULL>(i, n));
        }
        dot.add(i, a.mul(zero_if_empty(da, inverse)));
    });
}

/// The backward's second pass over a row: dz = a·(da − Σ a·da), and from it the inputs' gradients.
#[inline(always)]
pub unsafe fn gradients<O: Op, V: Register<O::T>, const LANEWISE: bool>(
    op: &O,
    block: &Block,
    row: usize,
    len: usize,
    a_in: *const V::Scalar,
    stats: &Stats<V, LANEWISE>,
    dot: &Stats<V, LANEWISE>,
) {
    let inputs = op.inputs(block, row);
    let sinks = op.gradients(block, row);
    let (grad_y, grad_weights) = (block.source::<O::T>(Y, row), block.source::<O::T>(WEIGHTS, row));
    for_registers!(V, len, |i, n, FULL| {
        let inverse = stats.sum(i);
        let a = if a_in.is_null() {
            weights::<O, V, LANEWISE, FULL>(op, &inputs, a_in, stats, inverse, (i, n))
        } else {
            V::load(a_in.add(i))
        };
        let y = grad_y.load::<V, FULL>(i, n);
        let mut da = y.mul(op.value::<V, FULL>(&inputs, i, n));
        if !grad_weights.is_absent() {
            da = da.add(grad_weights.load::<V, FULL>(i, n));
        }
        let z = a.mul(da.sub(dot.sum(i)));
        let grad = Upstream { y, z, v: y.mul(a), inverse };
        op.put_gradients::<V, FULL>(&inputs, &sinks, grad, i, n);
    });
}
