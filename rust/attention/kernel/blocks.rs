//! Passes over blocks, row by row: slices of several rows, or of as many as are too long to be done at once.
//!
//! What `KEPT` passes need of each element, its exponential or its weight, lies in the scratch: the scores
//! of a block that fits in the cache are computed once. The others compute it again.

use crate::attention::kernel::running::Running;
use crate::attention::kernel::stats::Stats;
use crate::attention::kernel::work::{BlockWork, GradOutput, Outputs, Registers};
use crate::attention::kernel::work::{padded_score, weigh};
use crate::attention::op::{Acc, Grads, Op, WEIGHTS, zero_if_empty};
use crate::simd::{Isa, Register, Task};

/// A pass over the rows of a block.
pub struct OverRows<'a, O: Op, P> {
    pub work: BlockWork<'a, O>,
    pub stats: Stats<Acc<O>>,
    /// Of a backward, Σ a·da.
    pub dot: Stats<Acc<O>>,
    pub pass: P,
}

/// What a pass does to one row.
pub trait RowPass<O: Op> {
    /// # Safety
    /// The work's memory is valid, scratch included, and has the row.
    unsafe fn row<V: Register<O::T>, const OUTER: bool>(
        &self,
        work: &BlockWork<O>,
        row: usize,
        stats: &mut Running<V, OUTER>,
        dot: &mut Running<V, OUTER>,
    );
}

impl<O: Op, P: RowPass<O>> Task for OverRows<'_, O, P> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // SAFETY: the caller's.
        unsafe {
            if self.stats.outer_form {
                self.run_rows::<Registers<O, I>, true>();
            } else {
                self.run_rows::<Registers<O, I>, false>();
            }
        }
    }
}

impl<O: Op, P: RowPass<O>> OverRows<'_, O, P> {
    /// # Safety
    /// As for [`Task::run`].
    #[inline(always)]
    unsafe fn run_rows<V: Register<O::T>, const OUTER: bool>(self) {
        // SAFETY: the caller's.
        unsafe {
            let mut stats = Running::<V, OUTER>::load(&self.stats);
            let mut dot = Running::<V, OUTER>::load(&self.dot);
            for row in 0..self.work.rows {
                self.pass.row(&self.work, row, &mut stats, &mut dot);
            }
            stats.store();
            dot.store();
        }
    }
}

/// Scores into the scratch, their maxima into the statistics.
pub struct Scores;

impl<O: Op> RowPass<O> for Scores {
    #[inline(always)]
    unsafe fn row<V: Register<O::T>, const OUTER: bool>(
        &self,
        work: &BlockWork<O>,
        row: usize,
        stats: &mut Running<V, OUTER>,
        _: &mut Running<V, OUTER>,
    ) {
        let (inputs, z) = (work.op.inputs(work.block, row), work.scratch_of_row(row));
        for_registers!(V, 0..work.len, |i, n, FULL| {
            // SAFETY: the caller's.
            unsafe {
                let score = padded_score::<O, V, FULL>(work.op, &inputs, i, n);
                score.store(z.add(i));
                stats.see(i, score);
            }
        });
    }
}

/// Exponentials in place of the scores, their sums into the statistics.
pub struct Exponentials;

impl<O: Op> RowPass<O> for Exponentials {
    #[inline(always)]
    unsafe fn row<V: Register<O::T>, const OUTER: bool>(
        &self,
        work: &BlockWork<O>,
        row: usize,
        stats: &mut Running<V, OUTER>,
        _: &mut Running<V, OUTER>,
    ) {
        let z = work.scratch_of_row(row);
        // SAFETY: the caller's.
        unsafe {
            for i in (0..work.len).step_by(V::LANES) {
                let e = V::load(z.add(i)).sub(stats.maximum(i)).exp2();
                e.store(z.add(i));
                stats.add(i, e);
            }
            stats.end_row(row, work.rows, work.len);
        }
    }
}

/// Outputs, and weights where they are wanted; the statistics hold shifts and inverses.
pub struct Results<const KEPT: bool>;

impl<const KEPT: bool> Results<KEPT> {
    /// # Safety
    /// As for [`RowPass::row`].
    #[inline(always)]
    unsafe fn store<O: Op, V: Register<O::T>, const OUTER: bool, const WITH_WEIGHTS: bool>(
        work: &BlockWork<O>,
        row: usize,
        stats: &Running<V, OUTER>,
    ) {
        let (inputs, kept) = (work.op.inputs(work.block, row), work.scratch_of_row(row));
        let (outputs, non_temporal) = (Outputs::new(work.block, row), work.block.non_temporal);
        for_registers!(V, 0..work.len, |i, n, FULL| {
            // SAFETY: the caller's.
            unsafe {
                let e = if KEPT {
                    V::load(kept.add(i))
                } else {
                    let z = padded_score::<O, V, FULL>(work.op, &inputs, i, n);
                    z.sub(stats.maximum(i)).exp2()
                };
                let of = (e, stats.sum(i));
                outputs.store::<O, V, FULL, WITH_WEIGHTS>(
                    work.op,
                    &inputs,
                    of,
                    (i, n),
                    non_temporal,
                );
            }
        });
    }
}

impl<O: Op, const KEPT: bool> RowPass<O> for Results<KEPT> {
    #[inline(always)]
    unsafe fn row<V: Register<O::T>, const OUTER: bool>(
        &self,
        work: &BlockWork<O>,
        row: usize,
        stats: &mut Running<V, OUTER>,
        _: &mut Running<V, OUTER>,
    ) {
        // SAFETY: the caller's.
        unsafe {
            if work.block.is_absent(WEIGHTS) {
                Self::store::<O, V, OUTER, false>(work, row, stats);
            } else {
                Self::store::<O, V, OUTER, true>(work, row, stats);
            }
        }
    }
}

/// The backward's first pass: Σ a·da into the sums of `dot`, and weights into the scratch where they are
/// to be `KEPT`; the statistics hold shifts and inverses.
pub struct Dots<const KEPT: bool>;

impl<O: Op, const KEPT: bool> RowPass<O> for Dots<KEPT> {
    #[inline(always)]
    unsafe fn row<V: Register<O::T>, const OUTER: bool>(
        &self,
        work: &BlockWork<O>,
        row: usize,
        stats: &mut Running<V, OUTER>,
        dot: &mut Running<V, OUTER>,
    ) {
        let (inputs, kept) = (work.op.inputs(work.block, row), work.scratch_of_row(row));
        let grad_output = GradOutput::<O::T>::new(work.block, row);
        for_registers!(V, 0..work.len, |i, n, FULL| {
            // SAFETY: the caller's.
            unsafe {
                let (shift, inverse) = (stats.maximum(i), stats.sum(i));
                let of = (&inputs, &grad_output);
                let (a, _, da) = weigh::<O, V, FULL>(work.op, of, (shift, inverse), (i, n));
                if KEPT {
                    a.store(kept.add(i));
                }
                dot.add(i, zero_if_empty(a.mul(da), inverse));
            }
        });
        // SAFETY: the caller's.
        unsafe { dot.end_row(row, work.rows, work.len) };
    }
}

/// The backward's second pass: the gradients of the inputs from the weights and Σ a·da.
pub struct GradInputs<const KEPT: bool>;

impl<O: Op, const KEPT: bool> RowPass<O> for GradInputs<KEPT> {
    #[inline(always)]
    unsafe fn row<V: Register<O::T>, const OUTER: bool>(
        &self,
        work: &BlockWork<O>,
        row: usize,
        stats: &mut Running<V, OUTER>,
        dot: &mut Running<V, OUTER>,
    ) {
        let (op, kept) = (work.op, work.scratch_of_row(row));
        let (inputs, sinks) = (op.inputs(work.block, row), op.grad_sinks(work.block, row));
        let grad_output = GradOutput::<O::T>::new(work.block, row);
        for_registers!(V, 0..work.len, |i, n, FULL| {
            // SAFETY: the caller's.
            unsafe {
                let inverse = stats.sum(i);
                let (a, y, da) = if KEPT {
                    let value = op.value::<V, FULL>(&inputs, i, n);
                    let (y, da) = grad_output.load::<V, FULL>(value, i, n);
                    (V::load(kept.add(i)), y, da)
                } else {
                    let of = (&inputs, &grad_output);
                    weigh::<O, V, FULL>(op, of, (stats.maximum(i), inverse), (i, n))
                };
                let grads = Grads { y, z: a.mul(da.sub(dot.sum(i))), v: y.mul(a), inverse };
                op.put_gradients::<V, FULL, false>(&inputs, &sinks, grads, i, n);
            }
        });
    }
}
