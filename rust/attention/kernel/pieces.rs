//! Passes over pieces of slices whose scores are too many to be kept: each computes them again.

use crate::attention::kernel::fitting::fits;
use crate::attention::kernel::stats::{Running, Stats};
use crate::attention::kernel::sums::{PART, Summation};
use crate::attention::kernel::work::{GradOutput, Outputs, Registers, Work, padded_score};
use crate::attention::op::zero_if_empty;
use crate::attention::op::{Acc, Grads, Op, WEIGHTS};
use crate::simd::{Float, Isa, Register, Task, Vector};

block_task! {
    /// Outputs from the scores, without scratch; `stats` holds shifts and inverses.
    Outcome { stats } => outcome_of_row
}
block_task! {
    /// The backward's first pass without scratch: Σ a·da into the sums of `dot`.
    DotAlone { stats, dot } => dot_alone_of_row
}
block_task! {
    /// The gradients from the scores and Σ a·da, without scratch.
    GradientsAlone { stats, dot } => gradients_alone_of_row
}

/// Of a piece of a slice: what its scores are shifted by, −∞ if nothing is kept, and the sum of
/// 2^(score − shift).
pub struct Sum<'a, O: Op> {
    pub work: Work<'a, O>,
}

impl<O: Op> Task for Sum<'_, O> {
    type Output = (Acc<O>, Acc<O>);
    #[inline(always)]
    unsafe fn run<I: Isa>(self) -> Self::Output {
        let (zero, low) = (Acc::<O>::ZERO, Acc::<O>::NEG_INFINITY);
        let (sum, maxima) = self.sum::<Registers<O, I>>(zero);
        if fits(maxima) {
            return (zero, sum);
        }
        let maximum = maxima.reduce_max();
        let is_shifted = maximum != low;
        (maximum, if is_shifted { self.sum::<Registers<O, I>>(maximum).0 } else { sum })
    }
}

impl<O: Op> Sum<'_, O> {
    /// The sum, and the maxima of the scores.
    #[inline(always)]
    unsafe fn sum<V: Register<O::T>>(&self, shift: Acc<O>) -> (Acc<O>, V) {
        let Work { op, block, rows, len, .. } = self.work;
        let shift = V::splat(shift);
        let mut maxima = V::splat(Acc::<O>::NEG_INFINITY);
        let mut total = Summation::<V>::new();
        for row in 0..rows {
            let inputs = op.inputs(block, row);
            for start in (0..len).step_by(PART * V::LANES) {
                let mut part = V::splat(Acc::<O>::ZERO);
                for_registers!(V, start..len.min(start + PART * V::LANES), |i, n, FULL| {
                    let z = padded_score::<O, V, FULL>(op, &inputs, i, n);
                    maxima = z.max(maxima);
                    part = part.add(z.sub(shift).exp2());
                });
                total.add_part(part);
            }
        }
        (total.total(), maxima)
    }
}

#[inline(always)]
unsafe fn outcome_of_row<O: Op, V: Register<O::T>, const OUTER: bool>(
    work: &Work<O>,
    row: usize,
    _: *mut V::Scalar,
    stats: &mut Running<V, OUTER>,
) {
    let inputs = work.op.inputs(work.block, row);
    let outputs = Outputs::new(work.block, row);
    let (has_weights, non_temporal) = (!work.block.is_absent(WEIGHTS), work.block.non_temporal);
    for_registers!(V, 0..work.len, |i, n, FULL| {
        let z = padded_score::<O, V, FULL>(work.op, &inputs, i, n);
        let of = (z.sub(stats.maximum(i)).exp2(), stats.sum(i));
        if has_weights {
            outputs.store::<O, V, FULL, true>(work.op, &inputs, of, (i, n), non_temporal);
        } else {
            outputs.store::<O, V, FULL, false>(work.op, &inputs, of, (i, n), non_temporal);
        }
    });
}

/// The weights and, through them, the gradients of the output and of the weights.
#[inline(always)]
unsafe fn weigh<O: Op, V: Register<O::T>, const FULL: bool, const OUTER: bool>(
    op: &O,
    (inputs, grad_output): (&O::Inputs, &GradOutput<O::T>),
    stats: &Running<V, OUTER>,
    (i, n): (usize, usize),
) -> (V, V, V) {
    let z = padded_score::<O, V, FULL>(op, inputs, i, n);
    let a = z.sub(stats.maximum(i)).exp2().mul(stats.sum(i));
    let (y, da) = grad_output.load::<V, FULL>(op.value::<V, FULL>(inputs, i, n), i, n);
    (a, y, da)
}

#[inline(always)]
unsafe fn dot_alone_of_row<O: Op, V: Register<O::T>, const OUTER: bool>(
    work: &Work<O>,
    row: usize,
    _: *mut V::Scalar,
    stats: &mut Running<V, OUTER>,
    dot: &mut Running<V, OUTER>,
) {
    let inputs = work.op.inputs(work.block, row);
    let grad_output = GradOutput::<O::T>::new(work.block, row);
    for_registers!(V, 0..work.len, |i, n, FULL| {
        let of = (&inputs, &grad_output);
        let (a, _, da) = weigh::<O, V, FULL, OUTER>(work.op, of, stats, (i, n));
        dot.add(i, zero_if_empty(a.mul(da), stats.sum(i)));
    });
    dot.end_row(row, work.len);
}

#[inline(always)]
unsafe fn gradients_alone_of_row<O: Op, V: Register<O::T>, const OUTER: bool>(
    work: &Work<O>,
    row: usize,
    _: *mut V::Scalar,
    stats: &mut Running<V, OUTER>,
    dot: &mut Running<V, OUTER>,
) {
    let inputs = work.op.inputs(work.block, row);
    let sinks = work.op.gradients(work.block, row);
    let grad_output = GradOutput::<O::T>::new(work.block, row);
    for_registers!(V, 0..work.len, |i, n, FULL| {
        let of = (&inputs, &grad_output);
        let (a, y, da) = weigh::<O, V, FULL, OUTER>(work.op, of, stats, (i, n));
        let (z, inverse) = (a.mul(da.sub(dot.sum(i))), stats.sum(i));
        let grad = Grads { y, z, v: y.mul(a), inverse };
        work.op.put_gradients::<V, FULL, false>(&inputs, &sinks, grad, i, n);
    });
}
