//! What one thread does: items, one after the other. An item is a unit, or a piece of one.

use super::pass::{Pass, Schedule};
use super::places::{accumulates_along_rows, items_between_folds};
use super::unit::Worker;
use super::workspace::Workspace;
use crate::attention::layout::{Form, count};
use crate::attention::op::{Acc, GRADIENTS, Op};
use crate::threads;
use std::ops::Range;

/// One pass over some units, shared among the threads.
///
/// # Safety
/// The plan's memory is valid, and partials are of this plan.
pub unsafe fn in_parallel<O: Op>(schedule: &Schedule<O>, units: Range<usize>, pass: Pass) {
    let start = || Workspace::new(schedule.plan);
    let elements = schedule.total / schedule.plan.units * units.len();
    threads::for_each_with(schedule.groups, elements, start, |space, group| {
        // SAFETY: the caller's; no two groups write to one element, and a workspace is one thread's.
        unsafe { run_group(schedule, space, group, units.clone(), pass) }
    });
}

/// The items of one group, of those that `units` have.
///
/// # Safety
/// As for [`in_parallel`]; nobody else works on this group or with this workspace.
unsafe fn run_group<O: Op>(
    schedule: &Schedule<O>,
    space: &Workspace<Acc<O>>,
    group: usize,
    units: Range<usize>,
    pass: Pass,
) {
    let Schedule { plan, items, groups, .. } = *schedule;
    let [first, end] = [group, group + 1].map(|group| group * items / groups);
    let pieces = plan.pieces.len().max(1);
    let fold_every = items_between_folds(plan);
    for item in first.max(units.start * pieces)..end.min(units.end * pieces) {
        let mut unit = plan.unit(item / pieces);
        schedule.accumulators.move_to_group(group, &mut unit.offset[GRADIENTS..]);
        let worker = Worker { schedule, space, unit };
        let is_block = plan.layout.form == Form::InnerMulti
            || count(&plan.layout.extra) > 1
            || (plan.layout.form == Form::Outer && accumulates_along_rows(plan));
        // SAFETY: the caller's.
        unsafe {
            match pass {
                Pass::Whole if is_block => worker.block(),
                Pass::Whole => worker.slices(),
                Pass::Reduce(to) => worker.reduce(item, to),
                Pass::Apply(from) => worker.apply(item, from),
            }
            if fold_every.is_some_and(|n| (item - first + 1).is_multiple_of(n)) {
                schedule.accumulators.fold::<Acc<O>>(group);
            }
        }
    }
    if plan.non_temporal {
        schedule.simd.fence();
    }
}
