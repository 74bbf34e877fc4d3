//! Forward and backward of an op over whole arrays: the work cut into units, each done in cache.
//!
//! A slice whose scores fit in the cache is read once. A longer one is cut into pieces and read twice:
//! once for the maximum and sum of every piece, once for the result. How the work is cut depends on
//! the shapes alone, never on the number of threads, so neither do the bits of the result.

pub mod accumulate;
mod operands;
mod partials;
mod pieces;
mod plan;
mod staging;
mod units;
mod workspace;

use crate::attention::call::Call;
use crate::attention::op::{Acc, GRADIENTS, Op, WEIGHTS, Y};
use crate::attention::schedule::accumulate::Accumulators;
use crate::simd::Simd;
use crate::tensor::dtype::Direction;
use crate::tensor::memory;
use crate::threads;
use partials::{Partials, combine};
pub use plan::Plan;
use std::ops::Range;
use units::Group;
use workspace::Workspace;

/// About as many elements of long slices are worked on at once, read twice.
const BATCH_ELEMENTS: usize = 512 * 1024;

/// Outputs (and, where asked for, weights, maxima and inverses) from the inputs.
pub fn forward<O: Op>(op: O, call: &Call, simd: Simd) {
    run(op, call, simd, Direction::Forward);
}

/// Gradients of the inputs from the inputs, the maxima and inverses that `forward` gave, and the
/// gradients of the output (operand `Y`) and of the weights (operand `WEIGHTS`, may be absent).
pub fn backward<O: Op>(op: O, call: &Call, simd: Simd) {
    run(op, call, simd, Direction::Backward);
}

fn run<O: Op>(op: O, call: &Call, simd: Simd, direction: Direction) {
    let total: usize = call.shape.iter().product();
    let mut operands = call.operands.clone();
    let accumulators = match direction {
        Direction::Forward => Accumulators::none(),
        Direction::Backward => Accumulators::new::<O::T>(&call.shape, &mut operands[GRADIENTS..]),
    };
    if total == 0 {
        accumulators.allocate(0).reduce_into::<O::T>(&call.operands[GRADIENTS..]);
        return;
    }
    let results = match direction {
        Direction::Forward => &call.operands[Y..=WEIGHTS],
        Direction::Backward => &call.operands[GRADIENTS..],
    };
    for operand in results.iter().filter(|operand| !operand.is_absent()) {
        memory::advise_huge_pages(operand, &call.shape);
    }
    let mut plan = Plan::new::<O>(call, operands, direction, simd);
    let items = plan.units * plan.pieces.len().max(1);
    let groups = accumulators.groups(items, total);
    let accumulators = accumulators.allocate(groups);
    accumulators.attach(&mut plan.base[GRADIENTS..]);
    let work =
        Work { op, plan: &plan, accumulators: &accumulators, items, groups, total, direction };
    if plan.pieces.is_empty() {
        work.in_parallel(0..plan.units, simd, Pass::Whole);
    } else {
        let partials = Partials::new(&plan, size_of::<Acc<O>>());
        // The second pass finds in the cache what the first one has read.
        let at_once = (BATCH_ELEMENTS * plan.units / total).max(1);
        for first in (0..plan.units).step_by(at_once) {
            let units = first..plan.units.min(first + at_once);
            work.in_parallel(units.clone(), simd, Pass::Reduce(&partials));
            combine::<O>(&partials, units.clone(), direction);
            work.in_parallel(units, simd, Pass::Apply(&partials));
        }
    }
    accumulators.reduce_into::<O::T>(&call.operands[GRADIENTS..]);
}

/// What a pass over all units does.
#[derive(Clone, Copy)]
enum Pass<'a> {
    /// Everything, of units that fit in the cache.
    Whole,
    /// Of each piece, the maximum and sum (forward) or Σ a·da (backward).
    Reduce(&'a Partials),
    /// The results, once these are known.
    Apply(&'a Partials),
}

struct Work<'a, O> {
    op: O,
    plan: &'a Plan,
    accumulators: &'a Accumulators,
    /// Units, or pieces of all units.
    items: usize,
    groups: usize,
    /// Elements.
    total: usize,
    direction: Direction,
}

impl<O: Op> Work<'_, O> {
    fn in_parallel(&self, units: Range<usize>, simd: Simd, pass: Pass) {
        let start = || Workspace::new(self.plan);
        let elements = self.total / self.plan.units * units.len();
        threads::for_each_with(self.groups, elements, start, |space, group| unsafe {
            Group { work: self, group, pass, units: units.clone(), simd, space }.run();
        });
    }
}
