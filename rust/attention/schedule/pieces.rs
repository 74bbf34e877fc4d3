//! The work of a group on pieces of slices that are too long for the cache.

use super::units::{Group, Part};
use crate::attention::block::Block;
use crate::attention::kernel::blocks::Exponentials;
use crate::attention::kernel::pieces::{DotAlone, GradientsAlone, Outcome, Sum};
use crate::attention::layout::{Form, PerOperand};
use crate::attention::op::{Acc, Op};
use crate::attention::schedule::partials::Partials;

impl<O: Op> Group<'_, '_, O> {
    /// A piece's block and its base; its rows and length.
    unsafe fn open_piece(
        &self,
        part: &Part,
        item: usize,
    ) -> (Block, PerOperand<*mut u8>, usize, usize) {
        let plan = self.work.plan;
        let piece = &plan.pieces[item % plan.pieces.len()];
        let len = if plan.layout.form == Form::Outer { part.len } else { piece.len };
        let base = plan.all_at(&plan.piece(*part.offset, piece));
        (self.space.staging.open(&base, piece.rows, len), base, piece.rows, len)
    }

    /// Maximum and sum, or Σ a·da, of a piece.
    pub(super) unsafe fn reduce(&self, part: Part, item: usize, to: &Partials) {
        let (block, _, rows, len) = self.open_piece(&part, item);
        let work = self.kernel_work(&block, rows, len, 0);
        let partial = to.piece::<Acc<O>>(item);
        if self.is_forward() && self.work.plan.layout.form != Form::Outer {
            (*partial, *partial.add(1)) = self.simd.dispatch(Sum { work });
            return;
        }
        let stats = self.stats(self.space.statistics);
        let dot = self.stats(self.space.dots);
        if self.is_forward() {
            self.first_pass(work, stats, dot);
            stats.finish();
            for i in 0..part.slices {
                *partial.add(2 * i) = stats.get(i).0;
            }
            stats.maxima_to_shifts();
            self.simd.dispatch(Exponentials { work, stats });
        } else {
            self.restore(&part, &stats);
            self.simd.dispatch(DotAlone { work, stats, dot });
        }
        let sums = if self.is_forward() { stats } else { dot };
        sums.finish();
        for i in 0..part.slices {
            *partial.add(2 * i + 1) = sums.get(i).1;
        }
    }

    /// The results of a piece, whose slice's statistics are known.
    pub(super) unsafe fn apply(&self, part: Part, item: usize, from: &Partials) {
        let (block, base, rows, len) = self.open_piece(&part, item);
        let work = self.kernel_work(&block, rows, len, 0);
        let known = self.stats(self.space.statistics);
        let pair = from.unit::<Acc<O>>(item / self.work.plan.pieces.len());
        for i in 0..part.slices {
            known.set_slice(i, *pair.add(2 * i), *pair.add(2 * i + 1));
        }
        // The pieces' scores or weights were not kept.
        if self.is_forward() {
            // One piece writes what all know: others may be at work in other threads.
            if item.is_multiple_of(self.work.plan.pieces.len()) {
                self.save(&part, &known);
            }
            self.simd.dispatch(Outcome { work, stats: known });
        } else {
            let stats = self.stats(self.space.dots);
            self.restore(&part, &stats);
            self.simd.dispatch(GradientsAlone { work, stats, dot: known });
        }
        self.space.staging.close::<Acc<O>>(&block, &base, rows, len);
    }
}
