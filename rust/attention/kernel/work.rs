//! What every pass over a block is given, reads and writes.

use crate::attention::block::{Block, Output, Source};
use crate::attention::op::zero_if_empty;
use crate::attention::op::{Acc, Op, WEIGHTS, Y};
use crate::simd::{Element, Packed, Register};

/// Where outputs (and weights, where wanted) of one row go.
pub struct Outputs<T> {
    pub y: Output<T>,
    weights: Output<T>,
}

impl<T: Element> Outputs<T> {
    #[inline(always)]
    pub fn new(block: &Block, row: usize) -> Self {
        Outputs { y: block.output(Y, row), weights: block.output(WEIGHTS, row) }
    }

    /// Store the outputs of `n` elements, of their exponentials and their slices' inverse sums; `non_temporal`:
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
        non_temporal: bool,
    ) {
        let a = exponential.mul(inverse);
        let y = zero_if_empty(a.mul(op.value::<V, FULL>(inputs, i, n)), inverse);
        self.y.store::<V, FULL>(op.add_residual::<V, FULL>(y, inputs, i, n), i, n, non_temporal);
        if WITH_WEIGHTS {
            self.weights.store::<V, FULL>(a, i, n, non_temporal);
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

pub type Registers<O, I> = <<O as Op>::T as Packed>::Vector<I>;

/// The gradients of the output and of the weights along one row.
pub struct GradOutput<T> {
    y: Source<T>,
    weights: Source<T>,
}

impl<T: Element> GradOutput<T> {
    #[inline(always)]
    pub fn new(block: &Block, row: usize) -> Self {
        GradOutput { y: block.source(Y, row), weights: block.source(WEIGHTS, row) }
    }

    /// The gradients of the output and, through y = a·v, of a.
    #[inline(always)]
    pub unsafe fn load<V: Register<T>, const FULL: bool>(
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
pub unsafe fn padded_score<O: Op, V: Register<O::T>, const FULL: bool>(
    op: &O,
    inputs: &O::Inputs,
    i: usize,
    n: usize,
) -> V {
    let score = op.score::<V, FULL>(inputs, i, n);
    if FULL { score } else { score.first(n) }
}
