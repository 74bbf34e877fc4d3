//! One unit of work, and what is done to all kinds of it.

use super::accumulate::TERMS;
use super::pass::Schedule;
use super::places::accumulates_along_rows;
use super::plan::Unit;
use super::workspace::Workspace;
use crate::attention::block::Block;
use crate::attention::kernel::blocks::{OverRows, RowPass};
use crate::attention::kernel::stats::Stats;
use crate::attention::kernel::work::BlockWork;
use crate::attention::layout::{Form, PerOperand};
use crate::attention::op::{Acc, INVERSE, MAXIMUM, Op};

/// A thread at a unit. All of its functions need the schedule's memory to be valid, and that nobody else
/// works on the unit or with the workspace.
pub struct Worker<'a, O: Op> {
    pub schedule: &'a Schedule<'a, O>,
    pub space: &'a Workspace<Acc<O>>,
    pub unit: Unit,
}

impl<O: Op> Worker<'_, O> {
    /// Statistics of nothing seen yet, in the workspace's memory for `memory`.
    ///
    /// # Safety
    /// `memory` is the workspace's for statistics, or for dots.
    pub unsafe fn stats(&self, memory: *mut Acc<O>) -> Stats<Acc<O>> {
        let plan = self.schedule.plan;
        // SAFETY: the workspace has room for so many.
        unsafe { Stats::new(memory, plan.statistics(), plan.layout.form == Form::Outer) }
    }

    /// A block for the kernels, with scratch from row `first` on.
    pub fn work<'b>(
        &'b self,
        block: &'b Block,
        rows: usize,
        len: usize,
        first: usize,
    ) -> BlockWork<'b, O> {
        let pitch = self.schedule.plan.pitch;
        let scratch = self.space.scores.wrapping_add(first * pitch);
        BlockWork { op: &self.schedule.op, block, rows, len, scratch, pitch }
    }

    /// A pass over the rows of a block.
    ///
    /// # Safety
    /// The work is of this unit, and the statistics are in the workspace's memory.
    pub unsafe fn over_rows<P: RowPass<O>>(
        &self,
        work: BlockWork<O>,
        stats: Stats<Acc<O>>,
        dot: Stats<Acc<O>>,
        pass: P,
    ) {
        // SAFETY: the caller's.
        unsafe { self.schedule.simd.dispatch(OverRows { work, stats, dot, pass }) };
    }

    /// Call `pass`, which stores results, with the block at `offset`: with so many of its rows at once that
    /// no more than [`TERMS`] gradients are added up one by one. `first` is its first row of scratch.
    ///
    /// # Safety
    /// As for [`Worker`]; the block is of its unit.
    pub unsafe fn store_results(
        &self,
        offset: &PerOperand<isize>,
        (rows, len): (usize, usize),
        first: usize,
        pass: impl Fn(BlockWork<O>),
    ) {
        let plan = self.schedule.plan;
        let at_once = if accumulates_along_rows(plan) { TERMS } else { rows };
        for row in (0..rows).step_by(at_once.max(1)) {
            let rows = at_once.min(rows - row);
            let step = |j: usize| row as isize * plan.layout.rows.strides[j];
            let base = plan.all_at(&std::array::from_fn(|j| offset[j] + step(j)));
            // SAFETY: the rows are the block's.
            unsafe {
                let block = self.space.staging.open(&base, rows, len);
                pass(self.work(&block, rows, len, first + row));
                self.space.staging.close::<Acc<O>>(&block, &base, rows, len);
            }
        }
    }

    /// Slices side by side: 1 unless lanes go across them.
    pub fn slices_side_by_side(&self) -> usize {
        if self.schedule.plan.layout.form == Form::Outer { self.unit.len } else { 1 }
    }

    /// Shifts and inverses out to their operands, where these are present.
    ///
    /// # Safety
    /// The schedule's memory is valid.
    pub unsafe fn save(&self, stats: &Stats<Acc<O>>) {
        if self.schedule.plan.base[MAXIMUM].is_null() {
            return;
        }
        for i in 0..self.slices_side_by_side() {
            // SAFETY: the statistics have a pair, and the operands a place, for each slice of the unit.
            unsafe {
                let (shift, inverse) = stats.get(i);
                *self.saved(MAXIMUM, i) = shift;
                *self.saved(INVERSE, i) = inverse;
            }
        }
    }

    /// Shifts and inverses that a forward has saved.
    ///
    /// # Safety
    /// The schedule's memory is valid; it is a backward's.
    pub unsafe fn restore(&self, stats: &Stats<Acc<O>>) {
        for i in 0..self.slices_side_by_side() {
            // SAFETY: the statistics have a pair, and the operands a place, for each slice of the unit.
            unsafe { stats.set_slice(i, *self.saved(MAXIMUM, i), *self.saved(INVERSE, i)) };
        }
    }

    fn saved(&self, operand: usize, slice: usize) -> *mut Acc<O> {
        let plan = self.schedule.plan;
        let step = plan.layout.inner.strides[operand];
        plan.at(&self.unit.offset, operand).wrapping_offset(slice as isize * step).cast()
    }
}
