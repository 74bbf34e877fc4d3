//! What one thread does: units, or pieces of them, one after the other.

use super::plan::Unit;
use super::workspace::Workspace;
use super::{Pass, Work};
use crate::attention::block::Block;
use crate::attention::kernel;
use crate::attention::kernel::blocks::{Dot, Exponentials, Gradients, Results, Scores};
use crate::attention::kernel::columns::{BackwardColumns, ForwardColumns};
use crate::attention::kernel::rows::{BackwardRows, ForwardRows};
use crate::attention::kernel::saved::Saved;
use crate::attention::kernel::short::{self, ShortRows};
use crate::attention::kernel::stats::Stats;
use crate::attention::layout::{Form, PerOperand, count, offsets};
use crate::attention::op::{Acc, GRADIENTS, INVERSE, MAXIMUM, Op};
use crate::simd::Simd;
use crate::tensor::dtype::Direction;
use std::ops::Range;

/// A run of consecutive items, done by one thread.
pub struct Group<'a, 'b, O: Op> {
    pub work: &'a Work<'b, O>,
    pub group: usize,
    pub pass: Pass<'a>,
    /// Of all units those that are to be done.
    pub units: Range<usize>,
    pub simd: Simd,
    pub space: &'a Workspace<Acc<O>>,
}

/// A unit, or a piece of one: what the passes over it need to know.
pub struct Part<'a> {
    pub offset: &'a PerOperand<isize>,
    pub planes: usize,
    pub rows: usize,
    pub len: usize,
    /// Slices side by side: 1 unless outer_form.
    pub slices: usize,
}

impl<O: Op> Group<'_, '_, O> {
    pub unsafe fn run(&self) {
        let (work, plan) = (self.work, self.work.plan);
        let first = self.group * work.items / work.groups;
        let end = (self.group + 1) * work.items / work.groups;
        let pieces = plan.pieces.len().max(1);
        let wanted = self.units.start * pieces..self.units.end * pieces;
        for item in first.max(wanted.start)..end.min(wanted.end) {
            let Unit { mut offset, planes, rows, len } = plan.unit(item / pieces);
            work.accumulators.move_to_group(self.group, &mut offset[GRADIENTS..]);
            let slices = if plan.layout.form == Form::Outer { len } else { 1 };
            let part = Part { offset: &offset, planes, rows, len, slices };
            match (self.pass, plan.layout.form) {
                (Pass::Whole, Form::InnerMulti) => self.block(part),
                (Pass::Whole, _) if count(&plan.layout.extra) > 1 => self.block(part),
                (Pass::Whole, _) => self.slices(part),
                (Pass::Reduce(to), _) => self.reduce(part, item, to),
                (Pass::Apply(from), _) => self.apply(part, item, from),
            }
        }
        if plan.non_temporal {
            self.simd.fence();
        }
    }

    pub fn is_forward(&self) -> bool {
        self.work.direction == Direction::Forward
    }

    /// No statistics as yet, in the workspace's memory for `memory`.
    pub unsafe fn stats(&self, memory: *mut Acc<O>) -> Stats<Acc<O>> {
        let plan = self.work.plan;
        Stats::new(memory, plan.statistics(), plan.layout.form == Form::Outer)
    }

    /// A block for the kernels, with scratch from row `first` on.
    pub fn kernel_work<'c>(
        &'c self,
        block: &'c Block,
        rows: usize,
        len: usize,
        first: usize,
    ) -> kernel::work::Work<'c, O> {
        let pitch = self.work.plan.pitch;
        let scratch = self.space.scores.wrapping_add(first * pitch);
        kernel::work::Work { op: &self.work.op, block, rows, len, scratch, pitch }
    }

    /// Slices that are one row or one column of a block each.
    pub unsafe fn slices(&self, part: Part) {
        let plan = self.work.plan;
        let base = plan.all_at(part.offset);
        let block = self.space.staging.open(&base, part.rows, part.len);
        let planes = part.planes;
        let work = self.kernel_work(&block, part.rows, part.len, 0);
        let step = |j: usize| match plan.layout.form {
            Form::Outer => plan.layout.inner.strides[j],
            _ => plan.layout.rows.strides[j],
        };
        let [shifts, inverses] = [MAXIMUM, INVERSE].map(|j| {
            let is_absent = plan.base[j].is_null();
            let data = if is_absent { plan.base[j] } else { plan.at(part.offset, j) };
            Saved { data, step: step(j), plane: plan.layout.planes.strides[j] }
        });
        if plan.short {
            self.short_rows(work, planes, shifts, inverses);
            return self.space.staging.close::<Acc<O>>(&block, &base, part.rows, part.len);
        }
        match (self.is_forward(), plan.layout.form == Form::Outer) {
            (true, false) => self.simd.dispatch(ForwardRows { work, planes, shifts, inverses }),
            (true, true) => self.simd.dispatch(ForwardColumns { work, shifts, inverses }),
            (false, false) => self.simd.dispatch(BackwardRows { work, planes, shifts, inverses }),
            (false, true) => self.simd.dispatch(BackwardColumns { work, shifts, inverses }),
        }
        self.space.staging.close::<Acc<O>>(&block, &base, part.rows, part.len);
    }

    pub unsafe fn short_rows(
        &self,
        work: kernel::work::Work<O>,
        planes: usize,
        shifts: Saved,
        inverses: Saved,
    ) {
        if self.is_forward() {
            let pass = short::Forward;
            self.simd.dispatch(ShortRows { work, planes, shifts, inverses, pass });
        } else {
            let pass = short::Backward;
            self.simd.dispatch(ShortRows { work, planes, shifts, inverses, pass });
        }
    }

    /// One slice of several rows, or as many as a row is long.
    pub unsafe fn block(&self, part: Part) {
        let plan = self.work.plan;
        let extras = count(&plan.layout.extra);
        let stats = self.stats(self.space.statistics);
        let dot = self.stats(self.space.dots);
        let open = |extra| {
            let more = offsets(&plan.layout.extra, extra);
            let base = plan.all_at(&std::array::from_fn(|j| part.offset[j] + more[j]));
            (self.space.staging.open(&base, part.rows, part.len), base)
        };
        if !self.is_forward() {
            self.restore(&part, &stats);
        }
        for extra in 0..extras {
            let (block, _) = open(extra);
            let work = self.kernel_work(&block, part.rows, part.len, extra * part.rows);
            self.first_pass(work, stats, dot);
        }
        if self.is_forward() {
            stats.finish();
            stats.maxima_to_shifts();
            for extra in 0..extras {
                let (block, _) = open(extra);
                let work = self.kernel_work(&block, part.rows, part.len, extra * part.rows);
                self.simd.dispatch(Exponentials { work, stats });
            }
            stats.finish();
            stats.sums_to_inverses();
            self.save(&part, &stats);
        } else {
            dot.finish();
        }
        for extra in 0..extras {
            let (block, base) = open(extra);
            let work = self.kernel_work(&block, part.rows, part.len, extra * part.rows);
            self.last_pass(work, stats, dot);
            self.space.staging.close::<Acc<O>>(&block, &base, part.rows, part.len);
        }
    }

    pub unsafe fn first_pass(
        &self,
        work: kernel::work::Work<O>,
        stats: Stats<Acc<O>>,
        dot: Stats<Acc<O>>,
    ) {
        if self.is_forward() {
            self.simd.dispatch(Scores { work, stats });
        } else {
            self.simd.dispatch(Dot { work, stats, dot });
        }
    }

    pub unsafe fn last_pass(
        &self,
        work: kernel::work::Work<O>,
        stats: Stats<Acc<O>>,
        dot: Stats<Acc<O>>,
    ) {
        if self.is_forward() {
            self.simd.dispatch(Results { work, stats });
        } else {
            self.simd.dispatch(Gradients { work, stats, dot });
        }
    }

    /// Shifts and inverses out to their operands, where these are present.
    pub unsafe fn save(&self, part: &Part, stats: &Stats<Acc<O>>) {
        if !self.work.plan.base[MAXIMUM].is_null() {
            for i in 0..part.slices {
                let (shift, inverse) = stats.get(i);
                *self.saved(part, MAXIMUM, i) = shift;
                *self.saved(part, INVERSE, i) = inverse;
            }
        }
    }

    pub unsafe fn restore(&self, part: &Part, stats: &Stats<Acc<O>>) {
        for i in 0..part.slices {
            stats.set_slice(i, *self.saved(part, MAXIMUM, i), *self.saved(part, INVERSE, i));
        }
    }

    pub fn saved(&self, part: &Part, operand: usize, slice: usize) -> *mut Acc<O> {
        let plan = self.work.plan;
        let step = plan.layout.inner.strides[operand];
        plan.at(part.offset, operand).wrapping_offset(slice as isize * step).cast()
    }
}
