//! Pieces of units whose slices are too long for the cache.

use super::partials::Partials;
use super::unit::Worker;
use crate::attention::kernel::blocks::{Dots, Exponentials, GradInputs, Results, Scores};
use crate::attention::kernel::pieces::Sum;
use crate::attention::kernel::stats::Stats;
use crate::attention::kernel::work::BlockWork;
use crate::attention::layout::{Form, PerOperand};
use crate::attention::op::{Acc, Op};

impl<O: Op> Worker<'_, O> {
    /// A piece's offset, and its rows and their length.
    fn piece(&self, item: usize) -> (PerOperand<isize>, usize, usize) {
        let plan = self.schedule.plan;
        let piece = &plan.pieces[item % plan.pieces.len()];
        let len = if plan.layout.form == Form::Outer { self.unit.len } else { piece.len };
        (plan.piece(self.unit.offset, piece), piece.rows, len)
    }

    /// Maximum and sum, or Σ a·da, of a piece.
    ///
    /// # Safety
    /// As for [`Worker`]; the partials are of its plan.
    pub unsafe fn reduce(&self, item: usize, to: &Partials) {
        let (simd, is_forward) = (self.schedule.simd, self.schedule.is_forward());
        // SAFETY: the piece is of this unit, the statistics are in the workspace's memory, and the partials
        // have a pair for each slice of a piece.
        unsafe {
            let (offset, rows, len) = self.piece(item);
            let base = self.schedule.plan.all_at(&offset);
            let block = self.space.staging.open(&base, rows, len);
            let work = self.work(&block, rows, len, 0);
            let partial = to.piece::<Acc<O>>(item);
            if is_forward && self.schedule.plan.layout.form != Form::Outer {
                *partial = simd.dispatch(Sum { work }).into();
                return;
            }
            let stats = self.stats(self.space.statistics);
            let dot = self.stats(self.space.dots);
            let slices = self.slices_side_by_side();
            if is_forward {
                self.over_rows(work, stats, Stats::absent(), Scores);
                stats.finish();
                (0..slices).for_each(|i| (*partial.add(i))[0] = stats.get(i).0);
                stats.maxima_to_shifts();
                self.over_rows(work, stats, Stats::absent(), Exponentials);
            } else {
                self.restore(&stats);
                self.over_rows(work, stats, dot, Dots::<false>);
            }
            let sums = if is_forward { stats } else { dot };
            sums.finish();
            (0..slices).for_each(|i| (*partial.add(i))[1] = sums.get(i).1);
        }
    }

    /// The results of a piece, whose slice's statistics are known.
    ///
    /// # Safety
    /// As for [`Worker`]; the partials are of its plan, and combined.
    pub unsafe fn apply(&self, item: usize, from: &Partials) {
        let pieces = self.schedule.plan.pieces.len();
        // SAFETY: the piece is of this unit, the statistics are in the workspace's memory, and the partials
        // have a pair for each slice of a unit.
        unsafe {
            let (offset, rows, len) = self.piece(item);
            let known = self.stats(self.space.statistics);
            let pairs = from.unit::<Acc<O>>(item / pieces);
            for i in 0..self.slices_side_by_side() {
                let [first, second] = *pairs.add(i);
                known.set_slice(i, first, second);
            }
            // The pieces' scores or weights were not kept.
            if self.schedule.is_forward() {
                // One piece writes what all know: others may be at work in other threads.
                if item.is_multiple_of(pieces) {
                    self.save(&known);
                }
                let pass = |work: BlockWork<O>| {
                    self.over_rows(work, known, Stats::absent(), Results::<false>)
                };
                self.store_results(&offset, (rows, len), 0, pass);
            } else {
                let stats = self.stats(self.space.dots);
                self.restore(&stats);
                let pass =
                    |work: BlockWork<O>| self.over_rows(work, stats, known, GradInputs::<false>);
                self.store_results(&offset, (rows, len), 0, pass);
            }
        }
    }
}
