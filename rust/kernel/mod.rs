//! The arithmetic of softmax(z) ∘ v over blocks, forward and backward, whatever z and v are made of.
//!
//! Each [`Task`] here is compiled once for every instruction set, op and element type; what calls them
//! (`attend`) is not.

#[macro_use]
mod macros;

pub mod blocks;
pub mod columns;
mod fitting;
pub mod pieces;
pub mod rows;
pub mod saved;
pub mod short;
pub mod stats;
pub mod sums;

use crate::block::{Block, Output, Register, Source};
use crate::numerics::{Element, Float};
use crate::simd::{Isa, Lanes, Task, Vector};

/// An op: how scores and values come from its inputs, and the inputs' gradients from theirs.
///
/// Scores are in base 2: the logarithm's factor log₂ e is in them.
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
    unsafe fn score<V: Register<Self::T>, const FULL: bool>(
        &self,
        inputs: &Self::Inputs,
        i: usize,
        n: usize,
    ) -> V;
    unsafe fn value<V: Register<Self::T>, const FULL: bool>(
        &self,
        inputs: &Self::Inputs,
        i: usize,
        n: usize,
    ) -> V;
    /// Ask for the cache lines of element `i`, of the inputs and of the gradients.
    fn prefetch(&self, inputs: &Self::Inputs, i: usize);
    fn prefetch_gradients(&self, gradients: &Self::Gradients, i: usize);
    /// What the output is added to, if anything.
    unsafe fn add_residual<V: Register<Self::T>, const FULL: bool>(
        &self,
        y: V,
        inputs: &Self::Inputs,
        i: usize,
        n: usize,
    ) -> V;
    /// Whether the gradients go where they usually do, which a kernel is compiled for.
    fn is_typical(&self, block: &Block) -> bool;
    /// Store the gradients; `grad` holds those of the output, the scores and the values.
    unsafe fn put_gradients<V: Register<Self::T>, const FULL: bool, const TYPICAL: bool>(
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
/// The maximum of each slice's scores, and 1/Σ 2^(score − maximum) (zero where nothing is kept).
pub const MAXIMUM: usize = 10;
pub const INVERSE: usize = 11;
/// The first of the gradients, in the order of the inputs. Y and WEIGHTS then hold the upstream ones.
pub const GRADIENTS: usize = 12;

#[inline(always)]
pub(crate) unsafe fn zero_if_empty<V: Vector>(x: V, inverse: V) -> V {
    x.zero_where_less(inverse, V::splat(V::Scalar::from_f64(stats::NOTHING)))
}

/// Where outputs (and weights, where wanted) of one row go.
pub(crate) struct Outputs<T> {
    pub y: Output<T>,
    weights: Output<T>,
}

impl<T: Element> Outputs<T> {
    #[inline(always)]
    pub fn new(block: &Block, row: usize) -> Self {
        Outputs { y: block.output(Y, row), weights: block.output(WEIGHTS, row) }
    }

    /// Store the outputs of `n` elements, of their exponentials and their slices' inverse sums; `streams`:
    /// past the caches, where address and register allow it.
    #[inline(always)]
    pub unsafe fn store<
        O: Op<T = T>,
        V: Register<T>,
        const FULL: bool,
        const WITH_WEIGHTS: bool,
    >(
        &self,
        op: &O,
        inputs: &O::Inputs,
        (exponential, inverse): (V, V),
        (i, n): (usize, usize),
        streams: bool,
    ) {
        let a = exponential.mul(inverse);
        let y = zero_if_empty(a.mul(op.value::<V, FULL>(inputs, i, n)), inverse);
        self.y.store::<V, FULL>(op.add_residual::<V, FULL>(y, inputs, i, n), i, n, streams);
        if WITH_WEIGHTS {
            self.weights.store::<V, FULL>(a, i, n, streams);
        }
    }
}

/// A block of an op, and scratch of `pitch` numbers a row.
pub struct Work<'a, O: Op> {
    pub op: &'a O,
    pub block: &'a Block,
    pub rows: usize,
    pub len: usize,
    pub scratch: *mut Acc<O>,
    pub pitch: usize,
}

impl<O: Op> Clone for Work<'_, O> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<O: Op> Copy for Work<'_, O> {}

pub type Acc<O> = <<O as Op>::T as Element>::Acc;
pub(crate) type Registers<O, I> = <<O as Op>::T as Element>::Vector<I>;

/// The gradients of the output and of the weights along one row.
pub(crate) struct Arriving<T> {
    y: Source<T>,
    weights: Source<T>,
}

impl<T: Element> Arriving<T> {
    #[inline(always)]
    pub fn new(block: &Block, row: usize) -> Self {
        Arriving { y: block.source(Y, row), weights: block.source(WEIGHTS, row) }
    }

    /// The gradients of the output and, through y = a·v, of a.
    #[inline(always)]
    unsafe fn load<V: Register<T>, const FULL: bool>(
        &self,
        value: V,
        i: usize,
        n: usize,
    ) -> (V, V) {
        let y = self.y.load::<V, FULL>(i, n);
        let da = y.mul(value);
        let is_absent = self.weights.is_absent();
        (y, if is_absent { da } else { da.add(self.weights.load::<V, FULL>(i, n)) })
    }
}

/// The scores of `n` elements; −∞ in the lanes beyond.
#[inline(always)]
pub(crate) unsafe fn padded_score<O: Op, V: Register<O::T>, const FULL: bool>(
    op: &O,
    inputs: &O::Inputs,
    i: usize,
    n: usize,
) -> V {
    let score = op.score::<V, FULL>(inputs, i, n);
    if FULL { score } else { score.first(n) }
}
