//! Passes over blocks: slices of several rows, or of as many as are too long to be done at once, whose
//! scores stay in the cache.

use crate::attention::kernel::stats::{Running, Stats};
use crate::attention::kernel::work::{GradOutput, Outputs, Registers, Work, padded_score};
use crate::attention::op::zero_if_empty;
use crate::attention::op::{Acc, Grads, Op, WEIGHTS};
use crate::simd::{Isa, Register, Task};

block_task! {
    /// Scores into the scratch, their maxima into `stats`.
    Scores { stats } => scores_of_row
}
block_task! {
    /// Exponentials in place of the scores, their sums into `stats`.
    Exponentials { stats } => exponentials_of_row
}
block_task! {
    /// Outputs from the exponentials; `stats` holds shifts and inverses.
    Results { stats } => outputs_of_row
}
block_task! {
    /// The backward's first pass: weights into the scratch, Σ a·da into the sums of `dot`; `stats` holds
    /// shifts and inverses.
    Dot { stats, dot } => dot_of_row
}
block_task! {
    /// The backward's second pass: the gradients from the weights and Σ a·da.
    Gradients { stats, dot } => gradients_of_row
}
#[inline(always)]
unsafe fn scores_of_row<O: Op, V: Register<O::T>, const OUTER: bool>(
    work: &Work<O>,
    row: usize,
    z: *mut V::Scalar,
    stats: &mut Running<V, OUTER>,
) {
    let inputs = work.op.inputs(work.block, row);
    for_registers!(V, 0..work.len, |i, n, FULL| {
        let score = padded_score::<O, V, FULL>(work.op, &inputs, i, n);
        score.store(z.add(i));
        stats.see(i, score);
    });
}

#[inline(always)]
unsafe fn exponentials_of_row<O: Op, V: Register<O::T>, const OUTER: bool>(
    work: &Work<O>,
    row: usize,
    z: *mut V::Scalar,
    stats: &mut Running<V, OUTER>,
) {
    for i in (0..work.len).step_by(V::LANES) {
        let e = V::load(z.add(i)).sub(stats.maximum(i)).exp2();
        e.store(z.add(i));
        stats.add(i, e);
    }
    stats.end_row(row, work.len);
}

#[inline(always)]
unsafe fn outputs_of_row<O: Op, V: Register<O::T>, const OUTER: bool>(
    work: &Work<O>,
    row: usize,
    e: *mut V::Scalar,
    stats: &mut Running<V, OUTER>,
) {
    if work.block.is_absent(WEIGHTS) {
        store_outputs::<O, V, OUTER, false>(work, row, e, stats);
    } else {
        store_outputs::<O, V, OUTER, true>(work, row, e, stats);
    }
}

#[inline(always)]
unsafe fn store_outputs<O: Op, V: Register<O::T>, const OUTER: bool, const WITH_WEIGHTS: bool>(
    work: &Work<O>,
    row: usize,
    e: *const V::Scalar,
    stats: &Running<V, OUTER>,
) {
    let inputs = work.op.inputs(work.block, row);
    let outputs = Outputs::new(work.block, row);
    for_registers!(V, 0..work.len, |i, n, FULL| {
        let e = V::load(e.add(i));
        outputs.store::<O, V, FULL, WITH_WEIGHTS>(
            work.op,
            &inputs,
            (e, stats.sum(i)),
            (i, n),
            work.block.non_temporal,
        );
    });
}

#[inline(always)]
unsafe fn dot_of_row<O: Op, V: Register<O::T>, const OUTER: bool>(
    work: &Work<O>,
    row: usize,
    a_out: *mut V::Scalar,
    stats: &mut Running<V, OUTER>,
    dot: &mut Running<V, OUTER>,
) {
    let inputs = work.op.inputs(work.block, row);
    let grad_output = GradOutput::<O::T>::new(work.block, row);
    for_registers!(V, 0..work.len, |i, n, FULL| {
        let inverse = stats.sum(i);
        let z = padded_score::<O, V, FULL>(work.op, &inputs, i, n);
        let a = z.sub(stats.maximum(i)).exp2().mul(inverse);
        a.store(a_out.add(i));
        let (_, da) = grad_output.load::<V, FULL>(work.op.value::<V, FULL>(&inputs, i, n), i, n);
        dot.add(i, zero_if_empty(a.mul(da), inverse));
    });
    dot.end_row(row, work.len);
}

#[inline(always)]
unsafe fn gradients_of_row<O: Op, V: Register<O::T>, const OUTER: bool>(
    work: &Work<O>,
    row: usize,
    a_in: *mut V::Scalar,
    stats: &mut Running<V, OUTER>,
    dot: &mut Running<V, OUTER>,
) {
    let inputs = work.op.inputs(work.block, row);
    let sinks = work.op.gradients(work.block, row);
    let grad_output = GradOutput::<O::T>::new(work.block, row);
    for_registers!(V, 0..work.len, |i, n, FULL| {
        let a = V::load(a_in.add(i));
        let (y, da) = grad_output.load::<V, FULL>(work.op.value::<V, FULL>(&inputs, i, n), i, n);
        let z = a.mul(da.sub(dot.sum(i)));
        let grad = Grads { y, z, v: y.mul(a), inverse: stats.sum(i) };
        work.op.put_gradients::<V, FULL, false>(&inputs, &sinks, grad, i, n);
    });
}
