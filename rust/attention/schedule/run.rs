//! A call from its operands to its results.

use super::accumulate::Accumulators;
use super::groups::in_parallel;
use super::partials::{Partials, combine};
use super::pass::{Pass, Schedule};
use super::places::{Place, place};
use super::plan::Plan;
use crate::attention::call::Call;
use crate::attention::op::{Acc, GRADIENTS, Op, WEIGHTS, Y};
use crate::simd::Simd;
use crate::tensor::dtype::Direction;
use crate::tensor::memory;

/// About as many elements of long slices are worked on at once: the second pass finds in the cache what the
/// first one has read.
const BATCH_ELEMENTS: usize = 512 * 1024;

/// Forward: outputs (and, where asked for, weights, maxima and inverses) from the inputs. Backward:
/// gradients of the inputs from the inputs, the maxima and inverses that the forward gave, and the
/// gradients of the output (operand `Y`) and of the weights (operand `WEIGHTS`, may be absent).
///
/// # Safety
/// The operands' memory is what the call says of it; see [`Call`].
pub unsafe fn run<O: Op>(op: O, call: &Call, simd: Simd, direction: Direction) {
    let total: usize = call.shape.iter().product();
    let mut operands = call.operands.clone();
    let accumulators = match direction {
        Direction::Forward => Accumulators::none(),
        Direction::Backward => Accumulators::new::<O::T>(&call.shape, &mut operands[GRADIENTS..]),
    };
    if total == 0 {
        let accumulators = accumulators.allocate(0, |_| false);
        // SAFETY: these are the operands that the accumulators were made for, and valid.
        return unsafe { accumulators.reduce_into::<O::T>(&call.operands[GRADIENTS..]) };
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
    let is_direct = |j| place(&plan, GRADIENTS + j) == Place::Own;
    let accumulators = accumulators.allocate(groups, is_direct);
    accumulators.attach(&mut plan.base[GRADIENTS..]);
    plan.accumulator_plane = accumulators.plane_bytes();
    let (plan, accumulators) = (&plan, &accumulators);
    let schedule = Schedule { op, plan, accumulators, items, groups, total, direction, simd };
    // SAFETY: the plan is of operands that are valid, or of buffers of the accumulators.
    unsafe {
        run_passes(&schedule);
        accumulators.reduce_into::<O::T>(&call.operands[GRADIENTS..]);
    }
}

/// # Safety
/// The plan's memory is valid.
unsafe fn run_passes<O: Op>(schedule: &Schedule<O>) {
    let plan = schedule.plan;
    if plan.pieces.is_empty() {
        // SAFETY: the caller's.
        return unsafe { in_parallel(schedule, 0..plan.units, Pass::Whole) };
    }
    let partials = Partials::new(plan, size_of::<Acc<O>>());
    let at_once = (BATCH_ELEMENTS * plan.units / schedule.total).max(1);
    for first in (0..plan.units).step_by(at_once) {
        let units = first..plan.units.min(first + at_once);
        // SAFETY: the caller's; the partials are of this plan.
        unsafe {
            in_parallel(schedule, units.clone(), Pass::Reduce(&partials));
            combine::<O>(&partials, units.clone(), schedule.direction);
            in_parallel(schedule, units, Pass::Apply(&partials));
        }
    }
}
