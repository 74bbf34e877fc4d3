//! What every pass over a block is given, reads and writes.

use crate::attention::block::Block;
use crate::attention::op::{Acc, GRAD_WEIGHTS, GRAD_Y, Op, WEIGHTS, Y, zero_if_empty};
use crate::attention::row::{Output, Source};
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
    ///
    /// # Safety
    /// The rows have these elements, and nobody else writes to them.
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
        // SAFETY: the caller's.
        unsafe {
            let a = exponential.mul(inverse);
            let y = zero_if_empty(a.mul(op.value::<V, FULL>(inputs, i, n)), inverse);
            self.y.store::<V, FULL>(
                op.add_residual::<V, FULL>(y, inputs, i, n),
                i,
                n,
                non_temporal,
            );
            if WITH_WEIGHTS {
                self.weights.store::<V, FULL>(a, i, n, non_temporal);
            }
        }
    }
}

/// A block of an op, and scratch of `pitch` numbers a row.
pub struct BlockWork<'a, O: Op> {
    pub op: &'a O,
    pub block: &'a Block,
    pub rows: usize,
    pub len: usize,
    pub scratch: *mut Acc<O>,
    pub pitch: usize,
}

impl<O: Op> Clone for BlockWork<'_, O> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<O: Op> Copy for BlockWork<'_, O> {}

impl<O: Op> BlockWork<'_, O> {
    #[inline(always)]
    pub fn scratch_of_row(&self, row: usize) -> *mut Acc<O> {
        self.scratch.wrapping_add(row * self.pitch)
    }
}

pub type Registers<O, I> = <<O as Op>::T as Packed>::Vector<I>;

/// The gradients of the output and of the weights along one row.
pub struct GradOutput<T> {
    y: Source<T>,
    weights: Source<T>,
}

impl<T: Element> GradOutput<T> {
    #[inline(always)]
    pub fn new(block: &Block, row: usize) -> Self {
        GradOutput { y: block.source(GRAD_Y, row), weights: block.source(GRAD_WEIGHTS, row) }
    }

    /// The gradients of the output and, through y = a·v, of a.
    ///
    /// # Safety
    /// The rows have these elements, and nobody else writes to them.
    #[inline(always)]
    pub unsafe fn load<V: Register<T>, const FULL: bool>(
        &self,
        value: V,
        i: usize,
        n: usize,
    ) -> (V, V) {
        // SAFETY: the caller's.
        unsafe {
            let y = self.y.load::<V, FULL>(i, n);
            let da = y.mul(value);
            let is_absent = self.weights.is_absent();
            (y, if is_absent { da } else { da.add(self.weights.load::<V, FULL>(i, n)) })
        }
    }
}

/// The scores of `n` elements; −∞ in the lanes beyond.
///
/// # Safety
/// The rows have these elements, and nobody else writes to them.
#[inline(always)]
pub unsafe fn padded_score<O: Op, V: Register<O::T>, const FULL: bool>(
    op: &O,
    inputs: &O::Inputs,
    i: usize,
    n: usize,
) -> V {
    // SAFETY: the caller's.
    unsafe {
        let score = op.score::<V, FULL>(inputs, i, n);
        if FULL { score } else { score.first(n) }
    }
}

/// The weights of `n` elements, of slices with these shifts and inverses, and the gradients of the output
/// and of the weights.
///
/// # Safety
/// The rows have these elements, and nobody else writes to them.
#[inline(always)]
pub unsafe fn weigh<O: Op, V: Register<O::T>, const FULL: bool>(
    op: &O,
    (inputs, grad_output): (&O::Inputs, &GradOutput<O::T>),
    (shift, inverse): (V, V),
    (i, n): (usize, usize),
) -> (V, V, V) {
    // SAFETY: the caller's.
    unsafe {
        let a = padded_score::<O, V, FULL>(op, inputs, i, n).sub(shift).exp2().mul(inverse);
        let (y, da) = grad_output.load::<V, FULL>(op.value::<V, FULL>(inputs, i, n), i, n);
        (a, y, da)
    }
}
