//! Units that fit in the cache.

use super::unit::Worker;
use crate::attention::kernel::blocks::{Dots, Exponentials, GradInputs, Results, Scores};
use crate::attention::kernel::columns::{BackwardColumns, ForwardColumns};
use crate::attention::kernel::rows::{BackwardRows, ForwardRows};
use crate::attention::kernel::saved::Saved;
use crate::attention::kernel::short::{self, ShortRows};
use crate::attention::kernel::stats::Stats;
use crate::attention::kernel::work::BlockWork;
use crate::attention::layout::{Form, count, offsets};
use crate::attention::op::{Acc, INVERSE, MAXIMUM, Op};

impl<O: Op> Worker<'_, O> {
    /// Slices that are one row or one column of a block each.
    ///
    /// # Safety
    /// As for [`Worker`].
    pub unsafe fn slices(&self) {
        let plan = self.schedule.plan;
        let (rows, len, planes) = (self.unit.rows, self.unit.len, self.unit.planes);
        let base = plan.all_at(&self.unit.offset);
        let [shifts, inverses] = [MAXIMUM, INVERSE].map(|operand| self.saved_of_slices(operand));
        let (is_forward, simd) = (self.schedule.is_forward(), self.schedule.simd);
        // SAFETY: the block is of this unit, and the workspace has the scratch for it.
        unsafe {
            let block = self.space.staging.open(&base, rows, len);
            let work = self.work(&block, rows, len, 0);
            match (is_forward, plan.layout.form == Form::Outer) {
                (true, false) if plan.short => {
                    let pass = short::Forward;
                    simd.dispatch(ShortRows { work, planes, shifts, inverses, pass });
                }
                (false, false) if plan.short => {
                    let pass = short::Backward;
                    simd.dispatch(ShortRows { work, planes, shifts, inverses, pass });
                }
                (true, false) => simd.dispatch(ForwardRows { work, planes, shifts, inverses }),
                (true, true) => simd.dispatch(ForwardColumns { work, shifts, inverses }),
                (false, false) => simd.dispatch(BackwardRows { work, planes, shifts, inverses }),
                (false, true) => simd.dispatch(BackwardColumns { work, shifts, inverses }),
            }
            self.space.staging.close::<Acc<O>>(&block, &base, rows, len);
        }
    }

    /// Where the maxima or inverses of the unit's slices are; null where nobody wants them.
    fn saved_of_slices(&self, operand: usize) -> Saved {
        let plan = self.schedule.plan;
        let is_absent = plan.base[operand].is_null();
        let data = if is_absent { plan.base[operand] } else { plan.at(&self.unit.offset, operand) };
        let step = match plan.layout.form {
            Form::Outer => plan.layout.inner.strides[operand],
            _ => plan.layout.rows.strides[operand],
        };
        Saved { data, step, plane: plan.layout.planes.strides[operand] }
    }

    /// One slice of several rows, or as many as a row is long.
    ///
    /// # Safety
    /// As for [`Worker`].
    pub unsafe fn block(&self) {
        // SAFETY: the works are of this unit's blocks; the statistics are in the workspace's memory.
        unsafe {
            let stats = self.stats(self.space.statistics);
            if self.schedule.is_forward() {
                let dot = Stats::absent();
                self.for_each_extra(false, |work| self.over_rows(work, stats, dot, Scores));
                stats.finish();
                stats.maxima_to_shifts();
                self.for_each_extra(false, |work| self.over_rows(work, stats, dot, Exponentials));
                stats.finish();
                stats.sums_to_inverses();
                self.save(&stats);
                self.for_each_extra(true, |work| self.over_rows(work, stats, dot, Results::<true>));
            } else {
                let dot = self.stats(self.space.dots);
                self.restore(&stats);
                self.for_each_extra(false, |work| self.over_rows(work, stats, dot, Dots::<true>));
                dot.finish();
                self.for_each_extra(true, |work| {
                    self.over_rows(work, stats, dot, GradInputs::<true>)
                });
            }
        }
    }

    /// Call `pass` with each of the unit's blocks: there is one for each index of the softmax axes beyond
    /// two. `stores`: whether the pass stores results.
    ///
    /// # Safety
    /// As for [`Worker`].
    unsafe fn for_each_extra(&self, stores: bool, pass: impl Fn(BlockWork<O>)) {
        let plan = self.schedule.plan;
        let (rows, len) = (self.unit.rows, self.unit.len);
        for extra in 0..count(&plan.layout.extra) {
            let more = offsets(&plan.layout.extra, extra);
            let offset = std::array::from_fn(|j| self.unit.offset[j] + more[j]);
            // SAFETY: the blocks are of this unit.
            unsafe {
                if stores {
                    self.store_results(&offset, (rows, len), extra * rows, &pass);
                } else {
                    let block = self.space.staging.open(&plan.all_at(&offset), rows, len);
                    pass(self.work(&block, rows, len, extra * rows));
                }
            }
        }
    }
}
